/**
 * @file Dequantization of the K-quants: blocks of 256 elements, in groups of 16 or 32 that have their own small
 * integer scale (and minimum), which in turn share one f16 scale per block.
 *
 * Products of an f16, a 6-bit scale and a code are exact in f32, so each element is rounded once and carries the bits of
 * the reference formulas.
 */
import { f16 } from '@quaver/numerics';
import type { Dequantizer } from './dequantize-legacy.ts';

function halfAt(bytes: Uint8Array, at: number): number {
  return f16.decode(bytes[at]! | (bytes[at + 1]! << 8));
}

/**
 * Unpacks the 12 bytes of eight 6-bit scales and eight 6-bit minima of Q4_K and Q5_K: the first four of each are the
 * low bits of bytes 0–3 and 4–7; of the last four, bytes 8–11 hold four bits and the top of bytes 0–7 two more.
 */
function unpackScales(from: Uint8Array, at: number, scales: Uint8Array, minima: Uint8Array): void {
  for (let j = 0; j < 4; j++) {
    const a = from[at + j]!;
    const b = from[at + 4 + j]!;
    const c = from[at + 8 + j]!;
    scales[j] = a & 63;
    minima[j] = b & 63;
    scales[4 + j] = (c & 15) | ((a >> 2) & 48);
    minima[4 + j] = (c >> 4) | ((b >> 2) & 48);
  }
}

/** 16 groups of 16: x = d·s·q − dmin·m with 4-bit s and m, 2-bit q. */
export const dequantizeQ2_K: Dequantizer = (from, to, blocks) => {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 84) {
    const d = halfAt(from, at + 80);
    const dmin = halfAt(from, at + 82);
    for (let group = 0; group < 16; group++, out += 16) {
      const scale = from[at + group]!;
      const dl = d * (scale & 15);
      const ml = dmin * (scale >> 4);
      // Two groups share 32 code bytes' pair of bits; four pairs of groups share the bytes.
      const codes = at + 16 + (group >> 3) * 32 + (group & 1) * 16;
      const shift = ((group >> 1) & 3) * 2;
      for (let i = 0; i < 16; i++) to[out + i] = dl * ((from[codes + i]! >> shift) & 3) - ml;
    }
  }
};

/** 16 groups of 16: x = d·(s − 32)·q with 6-bit s; q of two bits, minus 4 where its bit in the high mask is clear. */
export const dequantizeQ3_K: Dequantizer = (from, to, blocks) => {
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 110) {
    const d = halfAt(from, at + 108);
    const packed = at + 96;
    for (let group = 0; group < 16; group++, out += 16) {
      const low = (from[packed + (group & 7)]! >> (group & 8 ? 4 : 0)) & 15;
      const high = (from[packed + 8 + (group & 3)]! >> ((group >> 2) * 2)) & 3;
      const dl = d * ((low | (high << 4)) - 32);
      const within = (group & 1) * 16;
      const codes = at + 32 + (group >> 3) * 32 + within;
      const shift = ((group >> 1) & 3) * 2;
      const maskBit = group >> 1;
      for (let i = 0; i < 16; i++) {
        const low2 = (from[codes + i]! >> shift) & 3;
        const missing = ((from[at + within + i]! >> maskBit) & 1) ^ 1;
        to[out + i] = dl * (low2 - (missing << 2));
      }
    }
  }
};

/** 8 groups of 32: x = d·s·q − dmin·m with 4-bit q; even groups are low nibbles, odd groups the high ones. */
export const dequantizeQ4_K: Dequantizer = (from, to, blocks) => {
  const scales = new Uint8Array(8);
  const minima = new Uint8Array(8);
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 144) {
    const d = halfAt(from, at);
    const dmin = halfAt(from, at + 2);
    unpackScales(from, at + 4, scales, minima);
    for (let group = 0; group < 8; group++, out += 32) {
      const dl = d * scales[group]!;
      const ml = dmin * minima[group]!;
      const codes = at + 16 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++) to[out + i] = dl * ((from[codes + i]! >> shift) & 15) - ml;
    }
  }
};

/** As Q4_K, with the fifth bit of group g in bit g of 32 mask bytes. */
export const dequantizeQ5_K: Dequantizer = (from, to, blocks) => {
  const scales = new Uint8Array(8);
  const minima = new Uint8Array(8);
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 176) {
    const d = halfAt(from, at);
    const dmin = halfAt(from, at + 2);
    unpackScales(from, at + 4, scales, minima);
    for (let group = 0; group < 8; group++, out += 32) {
      const dl = d * scales[group]!;
      const ml = dmin * minima[group]!;
      const codes = at + 48 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++) {
        const fifth = (from[at + 16 + i]! >> group) & 1;
        to[out + i] = dl * (((from[codes + i]! >> shift) & 15) | (fifth << 4)) - ml;
      }
    }
  }
};

/** 16 groups of 16: x = d·s·(q − 32) with signed 8-bit s; q has four bits in `ql` and two in `qh`. */
export const dequantizeQ6_K: Dequantizer = (from, to, blocks) => {
  const signed = new Int8Array(from.buffer, from.byteOffset, from.byteLength);
  for (let block = 0, at = 0, out = 0; block < blocks; block++, at += 210) {
    const d = halfAt(from, at + 208);
    // Eight runs of 32: run r reads 32 low bytes (two runs, 64 bytes, per nibble) and two bits of 32 high bytes.
    for (let run = 0; run < 8; run++, out += 32) {
      const codes = at + (run >> 2) * 64 + (run & 1) * 32;
      const shift = run & 2 ? 4 : 0;
      const tops = at + 128 + (run >> 2) * 32;
      const topShift = (run & 3) * 2;
      const first = d * signed[at + 192 + run * 2]!;
      const second = d * signed[at + 193 + run * 2]!;
      for (let i = 0; i < 32; i++) {
        const code = ((from[codes + i]! >> shift) & 15) | (((from[tops + i]! >> topShift) & 3) << 4);
        to[out + i] = (i < 16 ? first : second) * (code - 32);
      }
    }
  }
};
