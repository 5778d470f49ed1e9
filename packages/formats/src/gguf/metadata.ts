import type { MetadataArray, MetadataValue } from '../checkpoint.ts';
import type { Cursor } from './cursor.ts';

const stringType = 8;
const boolType = 7;
const arrayType = 9;

/** Nothing in use nests arrays at all; this bounds the recursion. */
const maxArrayDepth = 4;
/** Entries of arrays that become one JavaScript value each; the largest vocabularies have half a million merges. */
const maxBoxedEntries = 8_000_000;

interface NumberType {
  readonly bytes: 1 | 2 | 4 | 8;
  readonly array: (buffer: ArrayBuffer) => Exclude<MetadataArray, readonly unknown[]>;
}

const numberTypes: ReadonlyMap<number, NumberType> = new Map<number, NumberType>([
  [0, { bytes: 1, array: (buffer) => new Uint8Array(buffer) }],
  [1, { bytes: 1, array: (buffer) => new Int8Array(buffer) }],
  [2, { bytes: 2, array: (buffer) => new Uint16Array(buffer) }],
  [3, { bytes: 2, array: (buffer) => new Int16Array(buffer) }],
  [4, { bytes: 4, array: (buffer) => new Uint32Array(buffer) }],
  [5, { bytes: 4, array: (buffer) => new Int32Array(buffer) }],
  [6, { bytes: 4, array: (buffer) => new Float32Array(buffer) }],
  [10, { bytes: 8, array: (buffer) => new BigUint64Array(buffer) }],
  [11, { bytes: 8, array: (buffer) => new BigInt64Array(buffer) }],
  [12, { bytes: 8, array: (buffer) => new Float64Array(buffer) }],
]);

/** The fewest bytes that a key-value pair takes: key length, type, one byte of value. */
export const minPairBytes = 13;

/** Reads one key-value pair. @throws QuaverError `gguf-truncated`, `gguf-bad-metadata`, `gguf-bad-utf8` */
export function readPair(cursor: Cursor): readonly [key: string, value: MetadataValue] {
  const key = cursor.string('a metadata key');
  const what = `metadata "${key}"`;
  const type = cursor.u32(what);
  if (type === arrayType) return [key, readArray(cursor, what, 1)];
  if (type === stringType) return [key, cursor.string(what)];
  if (type === boolType) return [key, readBool(cursor.bytes(1, what)[0]!, cursor, what)];
  const number = numberTypes.get(type);
  if (number === undefined) throw cursor.error('gguf-bad-metadata', `${what} has the unknown value type ${type}`);
  const value = number.array(cursor.bytes(number.bytes, what).buffer)[0]!;
  const small = typeof value === 'bigint' && BigInt.asIntN(54, value) === value;
  return [key, small ? Number(value) : value];
}

function readArray(cursor: Cursor, what: string, depth: number): MetadataArray {
  const type = cursor.u32(what);
  const length = `the length of ${what}`;
  const number = numberTypes.get(type);
  if (number !== undefined) {
    const count = cursor.count(number.bytes, length);
    return number.array(cursor.bytes(count * number.bytes, what).buffer);
  }
  const itemBytes = type === stringType ? 8 : type === boolType ? 1 : 12;
  const count = cursor.count(itemBytes, length);
  if (count > maxBoxedEntries) {
    throw cursor.error('gguf-bad-metadata', `${what} has ${count} entries, at most ${maxBoxedEntries} are allowed`);
  }
  if (type === boolType) return Array.from(cursor.bytes(count, what), (byte) => readBool(byte, cursor, what));
  if (type === stringType) {
    const strings: string[] = [];
    for (let i = 0; i < count; i++) strings.push(cursor.string(what));
    return strings;
  }
  if (type !== arrayType) throw cursor.error('gguf-bad-metadata', `${what} has the unknown item type ${type}`);
  if (depth === maxArrayDepth) throw cursor.error('gguf-bad-metadata', `${what} nests arrays too deeply`);
  const arrays: MetadataArray[] = [];
  for (let i = 0; i < count; i++) arrays.push(readArray(cursor, what, depth + 1));
  return arrays;
}

function readBool(byte: number, cursor: Cursor, what: string): boolean {
  if (byte > 1) throw cursor.error('gguf-bad-metadata', `${what} holds ${byte}, a truth value is 0 or 1`);
  return byte === 1;
}
