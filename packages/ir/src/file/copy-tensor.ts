/** @file Reads the bytes of a tensor in order, a chunk at a time. */
import { QuaverError } from '@quaver/numerics';
import type { TensorData } from '../module.ts';
import { isRanged } from './byte-source.ts';

/** Bytes moved so far, and the tensor or attachment they belong to. */
export interface TensorProgress {
  readonly kind: 'write' | 'verify';
  readonly tensor: string;
  readonly bytes: number;
  readonly totalBytes: number;
}

export const CHUNK_BYTES: number = 16 * 1024 * 1024;

/**
 * Hands the bytes of `data` to `sink`, in order; data that can be read by range is never held whole.
 * @throws QuaverError `tensor-byte-length`; the signal's reason; what reading and `sink` throw
 */
export async function copyTensor(
  name: string,
  data: TensorData,
  signal: AbortSignal | undefined,
  sink: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  signal?.throwIfAborted();
  const whole = isRanged(data) ? undefined : await data.read(signal);
  if (whole) checkDataLength(name, whole.byteLength, data.byteLength);
  for (let from = 0; from < data.byteLength; from += CHUNK_BYTES) {
    signal?.throwIfAborted();
    const length = Math.min(CHUNK_BYTES, data.byteLength - from);
    const chunk = isRanged(data) ? await data.readRange(from, length, signal) : whole!.subarray(from, from + length);
    checkDataLength(name, chunk.byteLength, length);
    await sink(chunk);
  }
}

/** @throws QuaverError `tensor-byte-length` */
export function checkDataLength(name: string, found: number, expected: number): void {
  if (found === expected) return;
  throw new QuaverError('tensor-byte-length', `reading '${name}' gave ${found} bytes, expected ${expected}`, {
    hint: 'The data of this tensor or attachment broke its promise of byteLength.',
    where: { tensor: name },
  });
}
