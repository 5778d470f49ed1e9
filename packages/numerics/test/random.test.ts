import fc from 'fast-check';
import { expect, test } from 'vitest';
import { philox4x32, uniform, type Words4 } from '../src/index.ts';

/**
 * Known answers of philox4x32 with 10 rounds from the file kat_vectors of the Random123 distribution
 * (D. E. Shaw Research): counter, key, result.
 */
const knownAnswers: readonly (readonly [Words4, readonly [number, number], Words4])[] = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

test.each(knownAnswers)('philox4x32 of %o with key %o', (counter, key, expected) => {
  expect(philox4x32(counter, key)).toEqual(expected);
});

test('uniform takes 53 bits of one counter: 27 of the first word, 26 of the second', () => {
  const [high, low] = philox4x32([5, 0, 7, 0], [11, 0]);
  const bits = (BigInt(high >>> 5) << 26n) | BigInt(low >>> 6);
  expect(uniform(11, 7, 5)).toBe(Number(bits) / 2 ** 53);
});

/** By BigInt: what the product by halves must give. */
function philoxByBigInt(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const products = [0xd2511f53n * BigInt(c0), 0xcd9e8d57n * BigInt(c2)] as const;
    const [high0, high1] = products.map((product) => Number(product >> 32n)) as [number, number];
    const [low0, low1] = products.map((product) => Number(product & 0xffffffffn)) as [number, number];
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

test('philox4x32 is exact for any counter and key', () => {
  const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
      expect(philox4x32(counter, key)).toEqual(philoxByBigInt(counter, key));
    }),
  );
});

test('seed, stream and step are used whole, beyond 32 bits too', () => {
  const place = fc.maxSafeNat();
  fc.assert(
    fc.property(place, place, place, (seed, stream, step) => {
      const value = uniform(seed, stream, step);
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThan(1);
      for (const other of [2 ** 32, 2 ** 40, 1]) {
        expect(uniform((seed + other) % 2 ** 53, stream, step)).not.toBe(value);
        expect(uniform(seed, (stream + other) % 2 ** 53, step)).not.toBe(value);
        expect(uniform(seed, stream, (step + other) % 2 ** 53)).not.toBe(value);
      }
    }),
  );
});
