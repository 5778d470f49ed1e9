import type { BufferUsage, DeviceBuffer, Executor } from './contract.ts';

/** The input and output buffers of a session's calls, each kept from call to call while its size stays the same. */
export class CallBuffers {
  readonly #executor: Executor;
  readonly #buffers = new Map<string, DeviceBuffer>();

  constructor(executor: Executor) {
    this.#executor = executor;
  }

  /** @throws QuaverError `executor-out-of-memory` */
  get(usage: BufferUsage & ('input' | 'output'), fn: string, name: string, byteLength: number): DeviceBuffer {
    const key = JSON.stringify([usage, fn, name]);
    const known = this.#buffers.get(key);
    if (known?.byteLength === byteLength) return known;
    known?.dispose();
    // Forgotten before the allocation, which may fail: nobody may be given the old one again.
    this.#buffers.delete(key);
    const buffer = this.#executor.allocate(byteLength, usage);
    this.#buffers.set(key, buffer);
    return buffer;
  }

  dispose(): void {
    for (const buffer of this.#buffers.values()) buffer.dispose();
    this.#buffers.clear();
  }
}
