import fc from 'fast-check';
import { expect, test } from 'vitest';
import { paddedSize, SteadySize } from '../../src/rollout/batch-size.ts';

test('padded sizes are 1, 2, 3, 4, 6, 8, 12, …, up to the limit', () => {
  const sizes = Array.from({ length: 40 }, (_, i) => paddedSize(i + 1, 40));
  expect([...new Set(sizes)]).toEqual([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40]);
  expect(sizes.every((size, i) => size >= i + 1)).toBe(true);
});

test('at most half as much again is padded', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e6 }), (count) => {
      const size = paddedSize(count, Number.POSITIVE_INFINITY);
      expect(size).toBeGreaterThanOrEqual(count);
      expect(2 * size).toBeLessThan(3 * count + 1);
    }),
  );
});

test('a size grows at once, and shrinks after 8 calls to the most that they needed', () => {
  const size = new SteadySize(64);
  expect([5, 12, 13].map((count) => size.next(count))).toEqual([6, 12, 16]);
  expect([1, 1, 7, 1, 1, 1, 1].map((count) => size.next(count))).toEqual(Array(7).fill(16));
  expect(size.next(1)).toBe(8);
  expect(size.next(1)).toBe(8);
});

test('a size that is needed again in time stays', () => {
  const size = new SteadySize(64);
  const counts = Array.from({ length: 100 }, (_, i) => (i % 8 === 0 ? 16 : 9));
  expect(new Set(counts.map((count) => size.next(count)))).toEqual(new Set([16]));
});
