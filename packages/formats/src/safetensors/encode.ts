import { QuaverError } from '@quaver/numerics';
import { throwIfAborted } from '../byte-source.ts';
import type { TensorToWrite } from '../checkpoint.ts';
import { elementCount, formatShape, tensorDTypeBytes } from '../tensor-dtype.ts';
import { compareCodePoints, compareForLayout, safetensorsName } from './dtypes.ts';
import { maxHeaderBytes } from './header.ts';

export interface SafetensorsLayout {
  /** Length prefix and padded JSON; a multiple of 8 bytes, so tensor data starts aligned. */
  readonly header: Uint8Array;
  /** In file order. */
  readonly tensors: readonly TensorToWrite[];
  /** Of the whole file. */
  readonly totalBytes: number;
}

/** Bytes of a tensor's data. @throws QuaverError `tensor-bad-shape` */
export function tensorBytes({ name, dtype, shape }: Omit<TensorToWrite, 'read'>): number {
  const bytes = (elementCount(shape) ?? Number.NaN) * tensorDTypeBytes[dtype];
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new QuaverError('tensor-bad-shape', `tensor "${name}" has the impossible shape ${formatShape(shape)}`, {
    where: { tensor: name },
  });
}

/**
 * Plans a safetensors file: the same tensors and metadata give the same bytes, in whatever order they come.
 * @throws QuaverError `tensor-duplicate-name`, `tensor-bad-shape`, `safetensors-header-too-large`
 */
export function layOutSafetensors(
  tensors: Iterable<TensorToWrite>,
  metadata: Iterable<readonly [string, string]> = [],
): SafetensorsLayout {
  const ordered = [...tensors].sort(compareForLayout);
  const members: string[] = [];
  const pairs = [...metadata].sort(([a], [b]) => compareCodePoints(a, b));
  if (pairs.length > 0) {
    const items = pairs.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    members.push(`"__metadata__":{${items.join(',')}}`);
  }
  const seen = new Set<string>(['__metadata__']);
  let end = 0;
  for (const { name, dtype, shape } of ordered) {
    if (seen.has(name)) {
      throw new QuaverError('tensor-duplicate-name', `tensor "${name}" cannot be written twice`, {
        where: { tensor: name },
      });
    }
    seen.add(name);
    const begin = end;
    end += tensorBytes({ name, dtype, shape });
    const place = `"shape":[${shape.join(',')}],"data_offsets":[${begin},${end}]`;
    members.push(`${JSON.stringify(name)}:{"dtype":"${safetensorsName(dtype)}",${place}}`);
  }
  const header = encodeHeader(`{${members.join(',')}}`);
  return { header, tensors: ordered, totalBytes: header.byteLength + end };
}

function encodeHeader(json: string): Uint8Array {
  const text = new TextEncoder().encode(json);
  const padded = Math.ceil(text.byteLength / 8) * 8;
  if (padded > maxHeaderBytes) {
    throw new QuaverError(
      'safetensors-header-too-large',
      `the header would take ${padded} of at most ${maxHeaderBytes} bytes`,
      {
        hint: 'Write the tensors to several shards.',
      },
    );
  }
  const header = new Uint8Array(8 + padded).fill(0x20, 8 + text.byteLength);
  new DataView(header.buffer).setBigUint64(0, BigInt(padded), true);
  header.set(text, 8);
  return header;
}

/**
 * The file's bytes, one tensor at a time.
 * @throws QuaverError `tensor-size-mismatch` when a tensor's bytes do not fit its shape, `aborted`
 */
export async function* safetensorsChunks(
  layout: SafetensorsLayout,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  yield layout.header;
  for (const tensor of layout.tensors) {
    throwIfAborted(signal, `tensor "${tensor.name}"`);
    const bytes = await tensor.read(signal);
    const expected = tensorBytes(tensor);
    if (bytes.byteLength !== expected) {
      const what = `tensor "${tensor.name}" of ${tensor.dtype} ${formatShape(tensor.shape)}`;
      throw new QuaverError('tensor-size-mismatch', `${what} needs ${expected} bytes, got ${bytes.byteLength}`, {
        where: { tensor: tensor.name },
      });
    }
    yield bytes;
  }
}

/** A small safetensors file in memory. */
export async function encodeSafetensors(
  tensors: Iterable<TensorToWrite>,
  metadata?: Iterable<readonly [string, string]>,
): Promise<Uint8Array> {
  const layout = layOutSafetensors(tensors, metadata);
  const file = new Uint8Array(layout.totalBytes);
  let at = 0;
  for await (const chunk of safetensorsChunks(layout)) {
    file.set(chunk, at);
    at += chunk.byteLength;
  }
  return file;
}
