import { philox4x32, uniform } from '@quaver/numerics';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { drawKey, keyOf } from '../../src/rollout/draw-key.ts';

const number = fc.oneof(fc.nat(3), fc.maxSafeNat());

test('different lists of numbers draw differently', () => {
  fc.assert(
    fc.property(fc.array(number, { maxLength: 4 }), fc.array(number, { maxLength: 4 }), (a, b) => {
      fc.pre(JSON.stringify(a) !== JSON.stringify(b));
      expect(drawKey(a)).not.toEqual(drawKey(b));
      const draws = [a, b].map((names) => uniform(drawKey(names).seed, drawKey(names).stream, 0));
      expect(draws[0]).not.toBe(draws[1]);
    }),
  );
});

test('seed and stream are what Philox makes of the numbers, one after the other', () => {
  const first = philox4x32([2, 0, 0, 0], [7, 0]);
  const [a, b, c, d] = philox4x32(first, [1, 5]);
  const upper53 = (high: number, low: number) => Number(((BigInt(high) << 32n) | BigInt(low)) >> 11n);
  expect(drawKey([7, 5 * 2 ** 32 + 1])).toEqual({ seed: upper53(a, b), stream: upper53(c, d) });
});

test('draws of neighbouring samples are spread evenly', () => {
  const counts = new Array<number>(16).fill(0);
  const samples = 16_000;
  for (let sample = 0; sample < samples; sample++) {
    const { seed, stream } = drawKey([0, 1, 2, sample]);
    counts[Math.floor(16 * uniform(seed, stream, 0))]!++;
  }
  const expected = samples / 16;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  // 99.99 % of χ² with 15 degrees of freedom; nothing here is drawn anew from run to run.
  expect(chiSquare).toBeLessThan(44.3);
});

test('a request without a key is named by its id', () => {
  expect(keyOf(5, undefined)).toEqual([5]);
  expect(keyOf('a1', undefined)).toEqual([97, 49]);
  expect(keyOf('a1', [3, 4])).toEqual([3, 4]);
});

test.each([
  [-1, undefined],
  [0.5, undefined],
  [1, [Number.NaN]],
  [1, [2 ** 53]],
])('id %d with key %s is refused', (id, key) => {
  expect(() => keyOf(id, key)).toThrow(expect.objectContaining({ code: 'rollout-key-invalid' }));
});
