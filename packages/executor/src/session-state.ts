import type { DimBindings } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { DeviceBuffer } from './contract.ts';

/**
 * State variables at concrete sizes, for example the KV cache of B sequences with C positions. Zeros at first.
 * It belongs to the session that made it, and ends with it at the latest.
 */
export class SessionState implements Disposable {
  readonly symbols: DimBindings;
  readonly byteLength: number;
  readonly #buffers: Readonly<Record<string, DeviceBuffer>>;
  #users = 0;
  #disposed = false;

  constructor(symbols: DimBindings, buffers: Readonly<Record<string, DeviceBuffer>>) {
    this.symbols = symbols;
    this.#buffers = buffers;
    this.byteLength = Object.values(buffers).reduce((sum, buffer) => sum + buffer.byteLength, 0);
  }

  get isDisposed(): boolean {
    return this.#disposed;
  }

  /** Whether the variable is part of it. */
  has(name: string): boolean {
    return Object.hasOwn(this.#buffers, name);
  }

  /** The names of its variables. */
  get names(): readonly string[] {
    return Object.keys(this.#buffers);
  }

  /**
   * Gives `work` the buffers by state name. A `dispose()` in the meantime takes effect when `work` has ended: a kernel
   * must never write to memory that is somebody else's by then.
   * @throws QuaverError `session-state-disposed`
   */
  async use<T>(work: (buffers: Readonly<Record<string, DeviceBuffer>>) => Promise<T>): Promise<T> {
    if (this.#disposed) {
      throw new QuaverError('session-state-disposed', 'a state is used after dispose()', {
        hint: 'Make a new one with session.createState(…).',
      });
    }
    this.#users++;
    try {
      return await work(this.#buffers);
    } finally {
      this.#users--;
      this.#releaseIfUnused();
    }
  }

  dispose(): void {
    this.#disposed = true;
    this.#releaseIfUnused();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #releaseIfUnused(): void {
    if (!this.#disposed || this.#users > 0) return;
    for (const buffer of Object.values(this.#buffers)) buffer.dispose();
  }
}
