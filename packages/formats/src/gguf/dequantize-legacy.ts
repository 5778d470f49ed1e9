/**
 * @file Dequantization of the 32-element block formats. Each block is an f16 scale `d` (and for the `_1` formats an
 * f16 minimum `m`) followed by codes; element i < 16 is in the low nibble of code byte i, element 16 + i in its high
 * nibble. Q5 keeps the fifth bits in a 32-bit mask between scale and codes.
 *
 * A product of an f16 and a code is exact in f32, so the only rounding is the store (or the final addition), and the
 * results are the bits of the reference formulas.
 */
import { f16 } from '@quaver/numerics';

const half = 16;

/** Dequantizes `blocks` blocks from `from` into `to`. */
export type Dequantizer = (from: Uint8Array, to: Float32Array, blocks: number) => void;

function halfAt(bytes: Uint8Array, at: number): number {
  return f16.decode(bytes[at]! | (bytes[at + 1]! << 8));
}

/** x = d·(q − 8) */
export const dequantizeQ4_0: Dequantizer = (from, to, blocks) => {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 18, out += 32) {
    const d = halfAt(from, at);
    for (let i = 0; i < half; i++) {
      const code = from[at + 2 + i]!;
      to[out + i] = d * ((code & 15) - 8);
      to[out + half + i] = d * ((code >> 4) - 8);
    }
  }
};

/** x = d·q + m */
export const dequantizeQ4_1: Dequantizer = (from, to, blocks) => {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 20, out += 32) {
    const d = halfAt(from, at);
    const m = halfAt(from, at + 2);
    for (let i = 0; i < half; i++) {
      const code = from[at + 4 + i]!;
      to[out + i] = d * (code & 15) + m;
      to[out + half + i] = d * (code >> 4) + m;
    }
  }
};

/** x = d·(q − 16), q of five bits */
export const dequantizeQ5_0: Dequantizer = (from, to, blocks) => {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 22, out += 32) {
    const d = halfAt(from, at);
    const low = from[at + 2]! | (from[at + 3]! << 8);
    const high = from[at + 4]! | (from[at + 5]! << 8);
    for (let i = 0; i < half; i++) {
      const code = from[at + 6 + i]!;
      to[out + i] = d * (((code & 15) | (((low >> i) & 1) << 4)) - 16);
      to[out + half + i] = d * (((code >> 4) | (((high >> i) & 1) << 4)) - 16);
    }
  }
};

/** x = d·q + m, q of five bits */
export const dequantizeQ5_1: Dequantizer = (from, to, blocks) => {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 24, out += 32) {
    const d = halfAt(from, at);
    const m = halfAt(from, at + 2);
    const low = from[at + 4]! | (from[at + 5]! << 8);
    const high = from[at + 6]! | (from[at + 7]! << 8);
    for (let i = 0; i < half; i++) {
      const code = from[at + 8 + i]!;
      to[out + i] = d * ((code & 15) | (((low >> i) & 1) << 4)) + m;
      to[out + half + i] = d * ((code >> 4) | (((high >> i) & 1) << 4)) + m;
    }
  }
};

/** x = d·q, q a signed byte */
export const dequantizeQ8_0: Dequantizer = (from, to, blocks) => {
  const signed = new Int8Array(from.buffer, from.byteOffset, from.byteLength);
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 34, out += 32) {
    const d = halfAt(from, at);
    for (let i = 0; i < 32; i++) to[out + i] = d * signed[at + 2 + i]!;
  }
};
