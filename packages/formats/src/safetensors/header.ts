import { QuaverError } from '@quaver/numerics';
import type { ByteSource } from '../byte-source.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseJsonObject } from '../json.ts';
import { elementCount, formatShape, type TensorDType, tensorDTypeBytes } from '../tensor-dtype.ts';
import { dtypeFromSafetensors } from './dtypes.ts';

/** The specification's bound on the JSON header, in bytes. */
export const maxHeaderBytes = 100_000_000;

export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: TensorDType;
  /** The dtype as the file spells it. */
  readonly storage: string;
  readonly shape: readonly number[];
  /** Absolute byte offset in the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  readonly entries: readonly SafetensorsEntry[];
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads and checks the header of a safetensors file: size, JSON, dtypes, shapes, and that the tensors' bytes lie side
 * by side and end where the file ends.
 * @throws QuaverError `safetensors-truncated`, `safetensors-header-too-large`, `safetensors-not-safetensors`,
 * `json-invalid`, `json-duplicate-key`, `safetensors-bad-entry`, `safetensors-unknown-dtype`,
 * `safetensors-size-mismatch`, `safetensors-bad-layout`, `safetensors-trailing-bytes`
 */
export async function readSafetensorsHeader(source: ByteSource, signal?: AbortSignal): Promise<SafetensorsHeader> {
  const file = source.name;
  if (source.size < 8) throw truncated(file, 8, source.size);
  const prefix = await source.read(0, 8, signal);
  const declared = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (declared > BigInt(maxHeaderBytes)) {
    throw new QuaverError(
      'safetensors-header-too-large',
      `${file}: the header length at byte 0 says ${declared}, at most ${maxHeaderBytes} is allowed`,
      { where: { file, byte: 0 }, hint: 'This is probably not a safetensors file.' },
    );
  }
  const headerBytes = Number(declared);
  if (8 + headerBytes > source.size) throw truncated(file, 8 + headerBytes, source.size);
  const header = await source.read(8, headerBytes, signal);
  if (header[0] !== 0x7b /* { */) {
    throw new QuaverError('safetensors-not-safetensors', `${file}: expected "{" at byte 8, where the header starts`, {
      where: { file, byte: 8 },
      hint: 'This is probably not a safetensors file.',
    });
  }
  return checkHeader(file, parseJsonObject(file, header, 8), 8 + headerBytes, source.size);
}

function checkHeader(file: string, json: JsonObject, dataStart: number, fileSize: number): SafetensorsHeader {
  const entries: SafetensorsEntry[] = [];
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = checkMetadata(file, value);
    else entries.push(checkEntry(file, name, value, dataStart));
  }
  entries.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  for (const entry of entries) {
    if (entry.offset !== end) {
      const problem = entry.offset > end ? 'leaves a gap' : 'overlaps the tensor before it';
      throw new QuaverError(
        'safetensors-bad-layout',
        `${file}: tensor "${entry.name}" starts at byte ${entry.offset} and ${problem}: expected byte ${end}`,
        { where: { file, tensor: entry.name, byte: entry.offset } },
      );
    }
    end += entry.bytes;
  }
  if (end > fileSize) throw truncated(file, end, fileSize);
  if (end < fileSize) {
    throw new QuaverError(
      'safetensors-trailing-bytes',
      `${file}: the tensors end at byte ${end}, but the file has ${fileSize} bytes`,
      { where: { file, byte: end }, hint: 'The file is damaged, or two files were joined.' },
    );
  }
  return { entries, metadata };
}

function checkMetadata(file: string, value: JsonValue | undefined): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  if (!isJsonObject(value)) throw badEntry(file, '__metadata__', 'must be an object of strings');
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw badEntry(file, '__metadata__', `key ${JSON.stringify(key)} must hold a string`);
    metadata.set(key, text);
  }
  return metadata;
}

function checkEntry(file: string, name: string, value: JsonValue | undefined, dataStart: number): SafetensorsEntry {
  if (!isJsonObject(value)) throw badEntry(file, name, 'must be an object');
  const { dtype: storage, shape, data_offsets: offsets } = value;
  if (typeof storage !== 'string') throw badEntry(file, name, 'has no "dtype" string');
  const dtype = dtypeFromSafetensors(storage);
  if (dtype === undefined) {
    throw new QuaverError('safetensors-unknown-dtype', `${file}: tensor "${name}" has the unknown dtype "${storage}"`, {
      where: { file, tensor: name },
    });
  }
  if (!isCountArray(shape)) throw badEntry(file, name, '"shape" must be an array of whole numbers');
  if (!isCountArray(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    throw badEntry(file, name, '"data_offsets" must be [begin, end] with begin ≤ end');
  }
  const count = elementCount(shape);
  const bytes = offsets[1]! - offsets[0]!;
  const expected = count === undefined ? Number.POSITIVE_INFINITY : count * tensorDTypeBytes[dtype];
  if (bytes !== expected) {
    throw new QuaverError(
      'safetensors-size-mismatch',
      `${file}: tensor "${name}" of ${storage} ${formatShape(shape)} needs ${expected} bytes, its offsets give ${bytes}`,
      { where: { file, tensor: name, byte: dataStart + offsets[0]! } },
    );
  }
  return { name, dtype, storage, shape, offset: dataStart + offsets[0]!, bytes };
}

function isCountArray(value: JsonValue | undefined): value is readonly number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0);
}

function badEntry(file: string, name: string, problem: string): QuaverError {
  return new QuaverError('safetensors-bad-entry', `${file}: header entry "${name}" ${problem}`, {
    where: { file, tensor: name },
  });
}

function truncated(file: string, expected: number, found: number): QuaverError {
  return new QuaverError('safetensors-truncated', `${file}: expected at least ${expected} bytes, found ${found}`, {
    where: { file, byte: found },
    hint: 'The download or copy stopped early: fetch the file again.',
  });
}
