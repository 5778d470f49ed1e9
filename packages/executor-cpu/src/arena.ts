import type { Engine, EngineMemory } from './engine/engine.ts';

/**
 * The memory of intermediates. Programs of one executor run one after the other, so they share it: it is as large as the
 * largest needs it.
 */
export class Arena {
  readonly #engine: Engine;
  readonly #onRelease: () => void;
  #memory: EngineMemory | undefined;
  /** Changes when the memory is another one: code that is bound to the old one must be bound anew. */
  generation = 0;

  /** @param onRelease called before the memory is given back: who is bound to it keeps it otherwise */
  constructor(engine: Engine, onRelease: () => void) {
    this.#engine = engine;
    this.#onRelease = onRelease;
  }

  /** @throws QuaverError `executor-out-of-memory` */
  atLeast(byteLength: number): EngineMemory {
    if (this.#memory && this.#memory.byteLength >= byteLength) return this.#memory;
    this.release();
    this.generation++;
    this.#memory = this.#engine.allocate(Math.max(byteLength, 64));
    return this.#memory;
  }

  release(): void {
    if (this.#memory) this.#onRelease();
    this.#memory?.release();
    this.#memory = undefined;
  }
}
