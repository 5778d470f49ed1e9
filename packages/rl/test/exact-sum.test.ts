import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ExactSum } from '../src/mismatch/exact-sum.ts';

function sumOf(terms: readonly number[]): number {
  const sum = new ExactSum();
  for (const term of terms) sum.add(term);
  return sum.value;
}

test('terms that cancel leave the small ones', () => {
  expect(sumOf([1e100, 1, -1e100])).toBe(1);
  expect(sumOf([1, 1e-20, -1])).toBe(1e-20);
  expect(sumOf(new Array<number>(10).fill(0.1))).toBe(1);
  expect(sumOf([])).toBe(0);
});

test('what lies half way between two numbers goes the way of the rest, however small', () => {
  const half = 2 ** -53;
  expect(sumOf([1, half])).toBe(1);
  expect(sumOf([1, half, 2 ** -200])).toBe(1 + 2 ** -52);
  expect(sumOf([1 + 2 ** -52, half])).toBe(1 + 2 ** -51);
  expect(sumOf([1 + 2 ** -52, half, -(2 ** -200)])).toBe(1 + 2 ** -52);
});

test('is the exact sum, rounded once', () => {
  // Multiples of 2^-40 up to 2^40, whose exact sum fits in a BigInt of 2^-40.
  const term = fc.bigInt({ min: -(2n ** 53n), max: 2n ** 53n });
  const scaled = fc.tuple(term, fc.integer({ min: 0, max: 60 })).map(([value, shift]) => value << BigInt(shift));
  fc.assert(
    fc.property(fc.array(scaled, { maxLength: 40 }), (terms) => {
      // Number(…) of a BigInt rounds to the nearest, ties to even.
      expect(sumOf(terms.map(Number)) + 0).toBe(Number(terms.reduce((sum, value) => sum + value, 0n)));
    }),
  );
});
