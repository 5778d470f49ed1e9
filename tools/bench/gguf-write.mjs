/**
 * @file Writes a GGUF file of the same weights in another type, for the peers: metadata and tokenizer are copied byte for byte
 * from the source file, matrices are encoded again from what Quaver reads, vectors are stored in f32.
 */
import { f16 } from '../../packages/numerics/dist/index.js';

const TYPES = {
  f32: { id: 0, fileType: 0, blockElements: 1, blockBytes: 4 },
  bf16: { id: 30, fileType: 32, blockElements: 1, blockBytes: 2 },
  q8_0: { id: 8, fileType: 7, blockElements: 32, blockBytes: 34 },
};
const ALIGNMENT = 32;

/** Bytes of the fixed-size metadata types by type number; 8 is a string, 9 an array. */
const VALUE_BYTES = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };

/** The metadata of a GGUF file as it lies there: how many pairs, their bytes, and where the value of `general.file_type` is. */
function metadataBytes(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const pairs = Number(view.getBigUint64(16, true));
  let at = 24;
  let fileTypeAt;
  const skipString = () => {
    at += 8 + Number(view.getBigUint64(at, true));
  };
  const skipValue = (type) => {
    if (type === 8) return skipString();
    if (type !== 9) {
      at += VALUE_BYTES[type];
      return;
    }
    const item = view.getUint32(at, true);
    const count = Number(view.getBigUint64(at + 4, true));
    at += 12;
    if (item in VALUE_BYTES) at += count * VALUE_BYTES[item];
    else for (let i = 0; i < count; i++) skipValue(item);
  };
  for (let i = 0; i < pairs; i++) {
    const keyAt = at + 8;
    skipString();
    const key = Buffer.from(bytes.subarray(keyAt, at)).toString();
    const type = view.getUint32(at, true);
    at += 4;
    if (key === 'general.alignment') throw new Error('the source GGUF has an alignment of its own');
    if (key === 'general.file_type') fileTypeAt = at - 24;
    skipValue(type);
  }
  return { pairs, bytes: Uint8Array.from(bytes.subarray(24, at)), fileTypeAt };
}

const align = (size) => Math.ceil(size / ALIGNMENT) * ALIGNMENT;

function encodeQ8_0(values) {
  const blocks = values.length / 32;
  const out = new Uint8Array(blocks * 34);
  const codes = new Int8Array(out.buffer);
  for (let block = 0, from = 0, at = 0; block < blocks; block++, from += 32, at += 34) {
    let amax = 0;
    for (let i = 0; i < 32; i++) amax = Math.max(amax, Math.abs(values[from + i]));
    const scale = Math.fround(amax / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    const bits = f16.encode(scale);
    out[at] = bits & 255;
    out[at + 1] = bits >> 8;
    for (let i = 0; i < 32; i++) {
      const x = Math.fround(values[from + i] * inverse);
      codes[at + 2 + i] = Math.sign(x) * Math.round(Math.abs(x));
    }
  }
  return out;
}

/** Rounded to the nearest BF16, ties to even; weights are finite. */
function encodeBf16(values) {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = (bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) >>> 16;
  return new Uint8Array(out.buffer);
}

/** Bytes of `values` in a type of `TYPES`. */
function encodeTensor(type, values) {
  if (type === 'q8_0') return encodeQ8_0(values);
  return type === 'bf16' ? encodeBf16(values) : new Uint8Array(Float32Array.from(values).buffer);
}

const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const string = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)]);

/**
 * The file in pieces. `source` holds the first bytes of the original, its metadata at least; `tensors` are
 * `{ name, shape, values() }` with row-major f32 values, given when their turn comes.
 */
export function layOutGguf(source, tensors, type) {
  const metadata = metadataBytes(source);
  if (metadata.fileTypeAt !== undefined) metadata.bytes.set(u32(TYPES[type].fileType), metadata.fileTypeAt);
  let offset = 0;
  const placed = tensors.map((tensor) => {
    const elements = tensor.shape.reduce((product, size) => product * size, 1);
    const stored = tensor.shape.length > 1 ? type : 'f32';
    const { blockElements, blockBytes } = TYPES[stored];
    const bytes = (elements / blockElements) * blockBytes;
    const entry = { ...tensor, stored, bytes, offset };
    offset += align(bytes);
    return entry;
  });
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    ...[u32(3), u64(placed.length), u64(metadata.pairs), metadata.bytes],
    ...placed.flatMap(({ name, shape, stored, offset: at }) => [
      ...[string(name), u32(shape.length), ...shape.toReversed().map(u64)],
      ...[u32(TYPES[stored].id), u64(at)],
    ]),
  ]);
  const padded = (bytes) => Buffer.concat([bytes, Buffer.alloc(align(bytes.length) - bytes.length)]);
  async function* chunks() {
    yield padded(header);
    for (const { stored, values } of placed) yield padded(encodeTensor(stored, await values()));
  }
  return { totalBytes: align(header.length) + offset, chunks: chunks() };
}
