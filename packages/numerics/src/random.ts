/**
 * @file Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * A counter-based generator: the number drawn for (seed, stream, step) depends on nothing else, so any one sample can
 * be drawn again alone.
 */
import { normalQuantile } from './normal-quantile.ts';

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;

/** High 32 bits of a 32×32-bit product: by halves, because f64 cannot hold the product. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  // Each sum is below 2^32: (2^16 − 1)² + 2·(2^16 − 1) = 2^32 − 1.
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  return aHigh * bHigh + (middle >>> 16) + ((aLow * bHigh + (middle & 0xffff)) >>> 16);
}

export type Words4 = readonly [number, number, number, number];

/** Ten rounds over a 128-bit counter with a 64-bit key; all words are unsigned 32-bit. */
export function philox4x32(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(multiplier0, c0);
    const high1 = multiplyHigh(multiplier1, c2);
    const low0 = Math.imul(multiplier0, c0) >>> 0;
    const low1 = Math.imul(multiplier1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + weyl0) >>> 0;
    k1 = (k1 + weyl1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

const highWord = (value: number) => Math.floor(value / 2 ** 32) >>> 0;

/** The four words for step `step` of stream `stream` under `seed`: integers from 0 to 2^53 − 1. */
function wordsAt(seed: number, stream: number, step: number): Words4 {
  const counter: Words4 = [step >>> 0, highWord(step), stream >>> 0, highWord(stream)];
  return philox4x32(counter, [seed >>> 0, highWord(seed)]);
}

/** A uniform number in [0, 1) with 53 bits for step `step` of stream `stream` under `seed`. */
export function uniform(seed: number, stream: number, step: number): number {
  const [a, b] = wordsAt(seed, stream, step);
  return ((a >>> 5) * 2 ** 26 + (b >>> 6)) / 2 ** 53;
}

/**
 * Fills `values` with independent normal numbers of mean 0 and deviation `deviation`, the same bits everywhere. Element i is
 * the normal quantile of word i mod 4 of step ⌊i/4⌋ of the stream, at the middle of its 2^32 equal parts of [0, 1]: at most
 * 6.34 deviations from 0.
 * @param first index in the stream of the first element; a multiple of 4
 */
export function fillNormal(
  values: Float32Array,
  deviation: number,
  place: { readonly seed: number; readonly stream: number; readonly first?: number },
): void {
  const { seed, stream, first = 0 } = place;
  for (let at = 0; at < values.length; at += 4) {
    const words = wordsAt(seed, stream, (first + at) / 4);
    const end = Math.min(4, values.length - at);
    for (let i = 0; i < end; i++) values[at + i] = deviation * normalQuantile((words[i]! + 0.5) / 2 ** 32);
  }
}
