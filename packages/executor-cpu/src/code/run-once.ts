import type { Engine, EngineMemory } from '../engine/engine.ts';
import { CodeBuilder } from './code-builder.ts';

/** Runs one instruction over whole memories. */
export async function runOnce(
  engine: Engine,
  op: string,
  memories: readonly EngineMemory[],
  numbers: readonly number[],
): Promise<void> {
  const code = new CodeBuilder(engine);
  code.emit(
    op,
    memories.map((memory) => ({ memory, offset: 0 })),
    numbers,
  );
  const [segment] = code.finish(memories[0]!);
  if (typeof segment !== 'object') return;
  const loaded = engine.load(segment.image, segment.memories, false);
  try {
    await loaded.run(undefined);
  } finally {
    loaded.release();
  }
}
