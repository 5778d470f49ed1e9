import { QuaverError } from '@quaver/numerics';
import type { BufferUsage, DeviceBuffer } from './contract.ts';

/** Bytes that one buffer of {@link HostMemory} may have. */
export const hostBufferLimit: number = 2 ** 32;

/** The buffers of one executor that works on arrays of this process. */
export class HostMemory {
  /** Zero-filled. @throws QuaverError `executor-out-of-memory` */
  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer {
    return new HostBuffer(this, hostBytes(byteLength), usage);
  }

  /**
   * The buffer's memory itself, not a copy.
   * @throws QuaverError `buffer-foreign`, `buffer-disposed`
   */
  bytes(buffer: DeviceBuffer): Uint8Array {
    if (!(buffer instanceof HostBuffer && buffer.memory === this)) throw foreignBuffer();
    if (!buffer.bytes) throw new QuaverError('buffer-disposed', `a ${buffer.usage} buffer is used after dispose()`);
    return buffer.bytes;
  }

  /** @throws QuaverError `buffer-foreign`, `buffer-disposed`, `buffer-size` */
  write(buffer: DeviceBuffer, bytes: Uint8Array): void {
    const target = this.bytes(buffer);
    checkUpload(buffer, bytes);
    target.set(bytes);
  }
}

class HostBuffer implements DeviceBuffer {
  readonly memory: HostMemory;
  readonly byteLength: number;
  readonly usage: BufferUsage;
  bytes: Uint8Array | undefined;

  constructor(memory: HostMemory, bytes: Uint8Array, usage: BufferUsage) {
    this.memory = memory;
    this.byteLength = bytes.byteLength;
    this.usage = usage;
    this.bytes = bytes;
  }

  dispose(): void {
    this.bytes = undefined;
  }
}

/**
 * A zero-filled array, for executors whose buffers lie in this process.
 * @throws QuaverError `executor-out-of-memory`
 */
export function hostBytes(byteLength: number): Uint8Array {
  try {
    if (byteLength <= hostBufferLimit) return new Uint8Array(byteLength);
  } catch (cause) {
    throw outOfMemory(byteLength, cause);
  }
  throw outOfMemory(byteLength);
}

function outOfMemory(byteLength: number, cause?: unknown): QuaverError {
  return new QuaverError('executor-out-of-memory', `the host cannot give a buffer of ${byteLength} bytes`, {
    hint: 'Use a smaller model, context or batch.',
    cause,
  });
}

function foreignBuffer(): QuaverError {
  return new QuaverError('buffer-foreign', 'the buffer belongs to another executor', {
    hint: 'Download it there and upload it here.',
  });
}

/** @throws QuaverError `buffer-size` */
export function checkUpload(buffer: Pick<DeviceBuffer, 'byteLength'>, bytes: Uint8Array): void {
  if (buffer.byteLength === bytes.byteLength) return;
  throw new QuaverError('buffer-size', `${bytes.byteLength} bytes do not fit a buffer of ${buffer.byteLength}`, {
    hint: 'Upload exactly as many bytes as were allocated.',
  });
}
