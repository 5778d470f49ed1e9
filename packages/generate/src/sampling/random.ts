/**
 * @file Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 * A counter-based generator: the number drawn for (seed, stream, step) depends on nothing else, so any one sample can
 * be drawn again alone.
 */

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;

/** High and low 32 bits of a 32×32-bit product. */
function multiply(a: number, b: number): [high: number, low: number] {
  const product = BigInt(a) * BigInt(b);
  return [Number(product >> 32n), Number(product & 0xffffffffn)];
}

export type Words4 = readonly [number, number, number, number];

/** Ten rounds over a 128-bit counter with a 64-bit key; all words are unsigned 32-bit. */
export function philox4x32(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(multiplier0, c0);
    const [high1, low1] = multiply(multiplier1, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + weyl0) >>> 0;
    k1 = (k1 + weyl1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** A uniform number in [0, 1) with 53 bits for step `step` of stream `stream` under `seed`. */
export function uniform(seed: number, stream: number, step: number): number {
  const high = (value: number) => Math.floor(value / 2 ** 32) >>> 0;
  const [a, b] = philox4x32([step >>> 0, high(step), stream >>> 0, high(stream)], [seed >>> 0, high(seed)]);
  return ((a >>> 5) * 2 ** 26 + (b >>> 6)) / 2 ** 53;
}
