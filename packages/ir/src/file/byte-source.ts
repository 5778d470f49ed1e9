/** @file Bytes that are read by range: a file, a part of memory, a remote object. */
import { QuaverError } from '@quaver/numerics';
import type { TensorData } from '../module.ts';

export interface ByteSource {
  /** What errors call it: a path, a URL. */
  readonly name: string;
  readonly size: number;
  /** Exactly `length` bytes from `offset`; both lie inside `size`. */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
}

/** Tensor data that can be read in parts, so that copying a large tensor needs little memory. */
export interface RangedTensorData extends TensorData {
  readRange(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array>;
}

export function isRanged(data: TensorData): data is RangedTensorData {
  return 'readRange' in data;
}

/** A source over bytes in memory; what it reads are views. */
export function memorySource(bytes: Uint8Array, name = 'module'): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
  };
}

/** `byteLength` bytes of a source from `offset`. */
export function sourceRange(source: ByteSource, offset: number, byteLength: number): RangedTensorData {
  return {
    byteLength,
    read: (signal) => readExactly(source, offset, byteLength, signal),
    readRange: (from, length, signal) => readExactly(source, offset + from, length, signal),
  };
}

/** @throws QuaverError `file-truncated` when the source ends early */
export async function readExactly(
  source: ByteSource,
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  signal?.throwIfAborted();
  const bytes = offset + length <= source.size ? await source.read(offset, length, signal) : new Uint8Array(0);
  if (bytes.byteLength === length) return bytes;
  throw new QuaverError(
    'file-truncated',
    `${source.name}: ${length} bytes from byte ${offset} were wanted, the file has ${source.size}`,
    { hint: 'The file was cut off or changed while it was open.', where: { file: source.name, byte: offset } },
  );
}
