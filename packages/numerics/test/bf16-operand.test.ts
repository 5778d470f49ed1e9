import { expect, test } from 'vitest';
import { bf16, flushBf16Operand } from '../src/index.ts';

test('magnitudes below 2^-56 become +0 and everything else passes', () => {
  const belowLimit = 2 ** -56 * (1 - 2 ** -8);
  for (const x of [0, -0, belowLimit, -belowLimit, 2 ** -133, -(2 ** -133)])
    expect(Object.is(flushBf16Operand(x), 0)).toBe(true);
  for (const x of [2 ** -56, -(2 ** -56), 1, -3, Number.POSITIVE_INFINITY, Number.NaN])
    expect(Object.is(flushBf16Operand(x), x)).toBe(true);
});

test('the product of two operands that remain is zero or a normal f32', () => {
  let smallest = Number.POSITIVE_INFINITY;
  for (let code = 0; code < 0x7f80; code++) {
    const x = flushBf16Operand(bf16.decode(code));
    if (x > 0) smallest = Math.min(smallest, x);
  }
  expect(smallest).toBe(2 ** -56);
  expect(smallest * smallest).toBeGreaterThanOrEqual(2 ** -126);
});
