import { QuaverError } from '@quaver/numerics';
import type { ByteSource } from '../byte-source.ts';
import type { MetadataValue } from '../checkpoint.ts';
import { elementCount, formatShape } from '../tensor-dtype.ts';
import { Cursor, NeedMoreBytes } from './cursor.ts';
import { minPairBytes, readPair } from './metadata.ts';
import { type GgufStorage, ggufStorage, supportedStorageNames } from './storage-types.ts';

export interface GgufTensorInfo {
  readonly name: string;
  /** Row-major, outermost first: the reverse of the order in the file. */
  readonly shape: readonly number[];
  readonly storage: GgufStorage;
  readonly elements: number;
  /** Absolute byte offset in the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: 2 | 3;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: readonly GgufTensorInfo[];
}

const magic = 0x46554747; // "GGUF"
const firstWindowBytes = 4 << 20;
/** Everything before the tensor data must fit in here; the largest vocabularies take about 20 MB. */
const maxHeaderBytes = 256 << 20;
const maxDimensions = 8;
/** Name length, dimension count, type, offset: an unnamed scalar. */
const minTensorInfoBytes = 24;

/**
 * Reads everything before the tensor data of a GGUF file, version 2 or 3, little-endian.
 * @throws QuaverError `gguf-not-gguf`, `gguf-version`, `gguf-truncated`, `gguf-bad-metadata`, `gguf-bad-utf8`,
 * `gguf-bad-tensor`, `gguf-unsupported-type`, `gguf-header-too-large`
 */
export async function readGgufHeader(source: ByteSource, signal?: AbortSignal): Promise<GgufHeader> {
  // Parsing is synchronous over a window that grows until the header fits: much faster than one await per string.
  let window = Math.min(firstWindowBytes, source.size);
  for (;;) {
    const bytes = await source.read(0, window, signal);
    try {
      return parseHeader(new Cursor(source.name, bytes, source.size), source);
    } catch (error) {
      if (!(error instanceof NeedMoreBytes)) throw error;
      if (error.atLeast > maxHeaderBytes) throw tooLarge(source.name);
      window = Math.min(source.size, maxHeaderBytes, Math.max(window * 4, error.atLeast));
    }
  }
}

function parseHeader(cursor: Cursor, source: ByteSource): GgufHeader {
  const file = source.name;
  if (source.size < 4 || cursor.u32('the magic') !== magic) {
    throw new QuaverError('gguf-not-gguf', `${file}: expected "GGUF" at byte 0`, { where: { file, byte: 0 } });
  }
  const version = cursor.u32('the version');
  if (version !== 2 && version !== 3) {
    const bigEndian = (version & 0xffff) === 0;
    const found = bigEndian ? 'is big-endian' : `has version ${version}`;
    throw new QuaverError(
      'gguf-version',
      `${file}: expected little-endian GGUF version 2 or 3, but the file ${found}`,
      {
        where: { file, byte: 4 },
        hint: 'Convert the model again with a current converter.',
      },
    );
  }
  const tensorCount = cursor.count(minTensorInfoBytes, 'the tensor count');
  const pairCount = cursor.count(minPairBytes, 'the metadata count');
  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < pairCount; i++) {
    const [key, value] = readPair(cursor);
    if (metadata.has(key)) throw cursor.error('gguf-bad-metadata', `metadata "${key}" occurs twice`);
    metadata.set(key, value);
  }
  const alignment = readAlignment(cursor, metadata);
  const raw: RawInfo[] = [];
  for (let i = 0; i < tensorCount; i++) raw.push(readRawInfo(cursor));
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = raw.map((info) => placeTensor(source, info, dataStart, alignment));
  checkDistinct(file, tensors);
  return { version, metadata, tensors };
}

function readAlignment(cursor: Cursor, metadata: ReadonlyMap<string, MetadataValue>): number {
  const alignment = metadata.get('general.alignment') ?? 32;
  const valid =
    typeof alignment === 'number' && alignment > 0 && alignment <= 1 << 30 && Number.isInteger(Math.log2(alignment));
  if (valid) return alignment;
  throw cursor.error('gguf-bad-metadata', `general.alignment is ${String(alignment)}, expected a power of two`);
}

interface RawInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
  readonly relative: bigint;
  /** Where the description starts, for errors. */
  readonly byte: number;
}

function readRawInfo(cursor: Cursor): RawInfo {
  const byte = cursor.position;
  const name = cursor.string('a tensor name');
  const rank = cursor.u32(`the rank of tensor "${name}"`);
  if (rank > maxDimensions) {
    throw cursor.error(
      'gguf-bad-tensor',
      `tensor "${name}" has ${rank} dimensions, at most ${maxDimensions} are allowed`,
    );
  }
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) shape.unshift(Number(cursor.u64(`the shape of tensor "${name}"`)));
  const type = cursor.u32(`the type of tensor "${name}"`);
  return { name, shape, type, relative: cursor.u64(`the offset of tensor "${name}"`), byte };
}

function placeTensor(source: ByteSource, raw: RawInfo, dataStart: number, alignment: number): GgufTensorInfo {
  const { name, shape, relative, byte } = raw;
  const file = source.name;
  const where = { file, tensor: name, byte };
  const storage = ggufStorage(raw.type);
  if (typeof storage === 'string') {
    throw new QuaverError('gguf-unsupported-type', `${file}: tensor "${name}" has the unsupported type ${storage}`, {
      where,
      hint: `Supported are ${supportedStorageNames.join(', ')}: take another quantization of the model.`,
    });
  }
  const elements = elementCount(shape);
  const row = shape.at(-1) ?? 1;
  if (elements === undefined || row % storage.blockElements !== 0) {
    const needed =
      storage.blockElements > 1 ? `, rows of ${storage.name} are multiples of ${storage.blockElements}` : '';
    throw new QuaverError(
      'gguf-bad-tensor',
      `${file}: tensor "${name}" has the impossible shape ${formatShape(shape)}${needed}`,
      {
        where,
      },
    );
  }
  if (relative % BigInt(alignment) !== 0n) {
    throw new QuaverError(
      'gguf-bad-tensor',
      `${file}: tensor "${name}" lies at offset ${relative}, not a multiple of ${alignment}`,
      {
        where,
      },
    );
  }
  const bytes = (elements / storage.blockElements) * storage.blockBytes;
  const offset = dataStart + Number(relative);
  if (offset + bytes > source.size) {
    throw new QuaverError(
      'gguf-truncated',
      `${file}: tensor "${name}" (${storage.name} ${formatShape(shape)}) takes ${bytes} bytes from byte ${offset}, the file ends at byte ${source.size}`,
      { where: { file, tensor: name, byte: offset }, hint: 'The file is damaged or incomplete: fetch it again.' },
    );
  }
  return { name, shape, storage, elements, offset, bytes };
}

/** Names differ and bytes do not overlap. */
function checkDistinct(file: string, tensors: readonly GgufTensorInfo[]): void {
  const names = new Set<string>();
  for (const { name, offset } of tensors) {
    if (names.has(name)) {
      throw new QuaverError('gguf-bad-tensor', `${file}: tensor "${name}" occurs twice`, {
        where: { file, tensor: name, byte: offset },
      });
    }
    names.add(name);
  }
  const placed = tensors.filter(({ bytes }) => bytes > 0).sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < placed.length; i++) {
    const [before, { name, offset }] = [placed[i - 1]!, placed[i]!];
    if (before.offset + before.bytes <= offset) continue;
    throw new QuaverError(
      'gguf-bad-tensor',
      `${file}: tensors "${before.name}" and "${name}" overlap at byte ${offset}`,
      {
        where: { file, tensor: name, byte: offset },
      },
    );
  }
}

function tooLarge(file: string): QuaverError {
  return new QuaverError('gguf-header-too-large', `${file}: the metadata takes more than ${maxHeaderBytes} bytes`, {
    where: { file },
  });
}
