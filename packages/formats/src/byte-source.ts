import { QuaverError } from '@quaver/numerics';

/** Random access to bytes. A read never exceeds the source, and nothing ever loads the whole of it. */
export interface ByteSource {
  /** What errors call it: a path, a URL, `<memory>`. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`. The result may share memory with the source: copy before writing to it.
   * @throws QuaverError `source-out-of-range` outside the source, `source-truncated` when it shrank, `aborted`.
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A source over bytes in memory; reads are views, not copies. */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length, signal) {
      throwIfAborted(signal, name);
      checkRange(name, bytes.byteLength, offset, length);
      return bytes.subarray(offset, offset + length);
    },
    async close() {},
  };
}

/** @throws QuaverError `source-out-of-range` unless `[offset, offset + length)` lies within `size` bytes. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (whole && offset >= 0 && length >= 0 && offset + length <= size) return;
  throw new QuaverError('source-out-of-range', `${name}: cannot read ${length} bytes at byte ${offset} of ${size}`, {
    where: { file: name, byte: offset },
  });
}

/** @throws QuaverError `aborted` once `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new QuaverError('aborted', `${what}: stopped on request`, { cause: signal.reason });
}

/**
 * A read whose result can be viewed as elements of `width` bytes: copied where the source gives it at an odd place.
 * @throws QuaverError as `ByteSource.read`
 */
export async function readAligned(
  source: ByteSource,
  offset: number,
  length: number,
  width: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const bytes = await source.read(offset, length, signal);
  return bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
}
