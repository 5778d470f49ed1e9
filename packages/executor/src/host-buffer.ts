import { QuaverError } from '@quaver/numerics';
import type { BufferUsage, DeviceBuffer } from './contract.ts';

/** A device buffer that is an array of this process. */
export class HostBuffer implements DeviceBuffer {
  readonly usage: BufferUsage;
  #bytes: Uint8Array | undefined;

  constructor(byteLength: number, usage: BufferUsage) {
    this.usage = usage;
    this.#bytes = new Uint8Array(byteLength);
  }

  get byteLength(): number {
    return this.bytes.byteLength;
  }

  /** @throws QuaverError `buffer-disposed` */
  get bytes(): Uint8Array {
    if (!this.#bytes) throw new QuaverError('buffer-disposed', `a ${this.usage} buffer is used after dispose()`);
    return this.#bytes;
  }

  dispose(): void {
    this.#bytes = undefined;
  }
}

/** @throws QuaverError `buffer-foreign`, `buffer-size` */
export function checkUpload(buffer: { readonly byteLength: number }, bytes: Uint8Array): void {
  if (buffer.byteLength !== bytes.byteLength) {
    throw new QuaverError('buffer-size', `${bytes.byteLength} bytes do not fit a buffer of ${buffer.byteLength}`, {
      hint: 'Upload exactly as many bytes as were allocated.',
    });
  }
}
