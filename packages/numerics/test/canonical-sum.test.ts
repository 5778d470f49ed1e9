import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalSum, f32ToBits } from '../src/index.ts';
import { asFloats, goldenColumns } from './golden-columns.ts';

test('has the bits of numpy float32, one addition at a time', () => {
  const [poolBits, starts, lengths, strides, sums] = goldenColumns('canonical-sum', 5);
  const pool = asFloats(poolBits!);
  const signedStrides = new Int32Array(strides!.buffer);
  expect(sums!.length).toBe(26);
  for (const [i, expected] of sums!.entries())
    expect(f32ToBits(canonicalSum(pool, starts![i]!, lengths![i]!, signedStrides[i]!))).toBe(expected);
});

test('the tree adds 8 apart first, and rounds every partial sum', () => {
  const x = new Float32Array(16);
  x[0] = 1;
  x[8] = 2 ** 24;
  x[1] = -(2 ** 24);
  // (1 + 2^24) rounds to 2^24 before −2^24 arrives; any order that pairs neighbours first gives 1 or another value.
  expect(canonicalSum(x, 0, 16)).toBe(0);
  x[8] = -1;
  x[1] = 2 ** 24;
  x[9] = -(2 ** 24);
  x[4] = 2 ** -30;
  expect(canonicalSum(x, 0, 16)).toBe(2 ** -30);
});

test('sums of small integers are exact in any order, whatever the stride', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -1000, max: 1000 }), { maxLength: 300 }),
      fc.integer({ min: 1, max: 9 }),
      (values, stride) => {
        const x = new Float32Array(values.length * stride + 3).fill(1e9);
        for (const [i, value] of values.entries()) x[2 + i * stride] = value;
        expect(canonicalSum(x, 2, values.length, stride)).toBe(values.reduce((sum, value) => sum + value, 0));
      },
    ),
  );
});

test.each([
  [0, 5, 1],
  [-1, 2, 1],
  [3, 2, 1],
  [0, 3, 2],
  [0, -1, 1],
  [1, 3, -1],
])('start %d, length %d, stride %d leaves a row of 4 and is refused', (start, length, stride) => {
  expect(() => canonicalSum(new Float32Array(4), start, length, stride)).toThrow(
    expect.objectContaining({ code: 'canonical-sum-range' }),
  );
});
