import type { Executor } from '@quaver/executor';
import { cpuPlugin } from '../src/index.ts';

/** A CPU executor together with the WebAssembly memory it made, at most `maxBytes` large. */
export async function openWithMemory(
  maxBytes = 2 ** 32,
): Promise<{ readonly executor: Executor; readonly memory: WebAssembly.Memory }> {
  const { Memory } = WebAssembly;
  const made: WebAssembly.Memory[] = [];
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      super({ ...descriptor, maximum: maxBytes / 65536 });
      made.push(this);
    }
  };
  try {
    const executor = await cpuPlugin.open();
    return { executor, memory: made[0]! };
  } finally {
    WebAssembly.Memory = Memory;
  }
}
