/** @file Node only: tensors in safetensors files next to a module. */
import { realpath } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { QuaverError } from '@quaver/numerics';
import type { DType } from '../dtype.ts';
import type { ExternalData } from '../module.ts';
import type { ConcreteType } from '../type.ts';
import { type RangedTensorData, readExactly } from './byte-source.ts';
import { fileError } from './file-error.ts';
import { type FileSource, openFileSource } from './file-source.ts';

/** Larger JSON headers are refused before they are read; it is the limit of the format's own readers. */
const MAX_SAFETENSORS_HEADER = 100_000_000;

/** What safetensors calls the element types. */
const safetensorsNames: Readonly<Record<DType, string>> = {
  f32: 'F32',
  bf16: 'BF16',
  f16: 'F16',
  f8e4m3fn: 'F8_E4M3',
  f8e5m2: 'F8_E5M2',
  f8e8m0fnu: 'F8_E8M0',
  i32: 'I32',
  u8: 'U8',
  bool: 'BOOL',
};

/** Data of `type` that is looked up in its file at each read; the file is open only meanwhile. */
export function externalTensor(
  modulePath: string,
  reference: ExternalData,
  byteLength: number,
  type: ConcreteType,
): RangedTensorData {
  const readRange = async (offset: number, length: number, signal?: AbortSignal) => {
    const source = await openFileSource(await resolveExternal(modulePath, reference.uri));
    try {
      const start = await locateTensor(source, reference.key, byteLength, type, signal);
      return await readExactly(source, start + offset, length, signal);
    } finally {
      await source.close();
    }
  };
  return { byteLength, external: reference, readRange, read: (signal) => readRange(0, byteLength, signal) };
}

/**
 * The path of `uri`, which must lie in the module's folder or below it, also after links are followed.
 * @throws QuaverError `external-path`, `file-not-found`
 */
export async function resolveExternal(modulePath: string, uri: string): Promise<string> {
  const folder = dirname(resolve(modulePath));
  const path = resolve(folder, uri);
  if (isAbsolute(uri) || /[\\\0]|^[A-Za-z][A-Za-z0-9+.-]*:/.test(uri) || !isInside(folder, path))
    refuse(modulePath, uri);
  try {
    if (!isInside(await realpath(folder), await realpath(path))) refuse(modulePath, uri);
  } catch (error) {
    throw fileError(error, path);
  }
  return path;
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function refuse(modulePath: string, uri: string): never {
  throw new QuaverError(
    'external-path',
    `${modulePath}: the weights file ${JSON.stringify(uri)} is outside its folder`,
    {
      hint: 'Weights files must lie next to the module or below it. A link to another folder does not count: copy the file.',
      where: { file: modulePath, uri },
    },
  );
}

/** Absolute offset of a tensor's bytes. */
async function locateTensor(
  source: FileSource,
  key: string,
  byteLength: number,
  type: ConcreteType,
  signal?: AbortSignal,
): Promise<number> {
  const headerBytes = await readHeaderLength(source, signal);
  const { dtype, shape, offsets } = findEntry(await readExactly(source, 8, headerBytes, signal), key, source.name);
  const expected = { dtype: safetensorsNames[type.dtype], shape: type.shape };
  if (dtype !== expected.dtype || JSON.stringify(shape) !== JSON.stringify(expected.shape)) {
    const show = (value: unknown) => JSON.stringify(value) ?? 'missing';
    throw corrupt(
      source.name,
      `tensor '${key}' has dtype ${show(dtype)} and shape ${show(shape)}, expected ${show(expected.dtype)} and ${show(expected.shape)}`,
      key,
    );
  }
  const [begin, end] = offsets;
  const dataStart = 8 + headerBytes;
  if (end - begin !== byteLength || dataStart + end > source.size) {
    throw corrupt(
      source.name,
      `tensor '${key}' spans bytes ${begin} to ${end}, expected ${byteLength} bytes inside the file`,
      key,
    );
  }
  return dataStart + begin;
}

async function readHeaderLength(source: FileSource, signal?: AbortSignal): Promise<number> {
  const prefix = await readExactly(source, 0, 8, signal);
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(Math.min(MAX_SAFETENSORS_HEADER, source.size - 8))) {
    throw corrupt(source.name, `its header claims ${length} bytes`);
  }
  return Number(length);
}

/** What a header says about a tensor; only the offsets are checked. */
interface HeaderEntry {
  readonly dtype: unknown;
  readonly shape: unknown;
  readonly offsets: readonly [number, number];
}

function findEntry(header: Uint8Array, key: string, file: string): HeaderEntry {
  let entries: unknown;
  try {
    entries = JSON.parse(new TextDecoder().decode(header));
  } catch {
    throw corrupt(file, 'its header is not JSON');
  }
  const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
  const found = isRecord(entries) && Object.hasOwn(entries, key) ? entries[key] : undefined;
  const { dtype, shape, data_offsets: offsets } = isRecord(found) ? found : {};
  const valid =
    Array.isArray(offsets) && offsets.length === 2 && offsets.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!valid) throw corrupt(file, `it has no tensor '${key}'`, key);
  return { dtype, shape, offsets: offsets as [number, number] };
}

function corrupt(file: string, problem: string, tensor?: string): QuaverError {
  return new QuaverError('external-tensor', `${file}: ${problem}`, {
    hint: 'The weights file does not belong to this module, or was damaged.',
    where: { file, ...(tensor === undefined ? {} : { tensor }) },
  });
}
