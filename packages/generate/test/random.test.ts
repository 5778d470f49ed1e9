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
