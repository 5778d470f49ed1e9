import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { computeScale, floatFormats, type ScaleRounding } from '../src/index.ts';
import { asFloats, goldenColumns } from './golden-columns.ts';

const maxima = [1, 6, 127, 240, 448, 57344, 65504, floatFormats.bf16.maxFinite, Math.fround(448.3)];
const anyMax = fc.constantFrom(...maxima);
/** Every positive finite f32, subnormals included. */
const anyAmax = fc.float({ min: 2 ** -149, noNaN: true, noDefaultInfinity: true });
const isPowerOfTwo = (value: number) => Number.isInteger(Math.log2(value));

test.each(['none', 'pow2_up', 'pow2_nearest'] as ScaleRounding[])('%s: amax 0, Inf and NaN give 1', (rounding) => {
  for (const amax of [0, -0, Number.POSITIVE_INFINITY, Number.NaN, 1e39])
    expect(computeScale(amax, { max: 448, rounding })).toBe(1);
});

test('none is f32 division, as numpy computes it', () => {
  const [amax, max, quotient] = goldenColumns('scale-quotients', 3).map(asFloats);
  expect(amax!.length).toBe(700);
  for (const [i, expected] of quotient!.entries())
    expect(computeScale(amax![i]!, { max: max![i]!, rounding: 'none' })).toBe(Math.max(expected, 2 ** -126));
});

test('closed forms', () => {
  const up = (amax: number, max: number) => computeScale(amax, { max, rounding: 'pow2_up' });
  expect(up(448, 448)).toBe(1);
  expect(up(448 + 2 ** -15, 448)).toBe(2);
  expect(up(448 - 2 ** -15, 448)).toBe(1);
  expect(up(224, 448)).toBe(0.5);
  expect(up(1, 448)).toBe(2 ** -8);
  expect(up(57344, 57344)).toBe(1);
  expect(up(240.5, 240)).toBe(2);
  expect(up(2 ** -149, 448)).toBe(2 ** -126);
  expect(up(3.4028234663852886e38, 1)).toBe(2 ** 127);
  const nearest = (amax: number, max: number) => computeScale(amax, { max, rounding: 'pow2_nearest' });
  expect(nearest(448, 448)).toBe(1);
  expect(nearest(671.9, 448)).toBe(1);
  expect(nearest(672, 448)).toBe(2);
  expect(nearest(335.9, 448)).toBe(0.5);
  expect(nearest(336, 448)).toBe(1);
  expect(nearest(2 ** -149, 448)).toBe(2 ** -126);
  expect(nearest(3.4028234663852886e38, 1)).toBe(2 ** 127);
  expect(computeScale(2 ** -126, { max: 448, rounding: 'none' })).toBe(2 ** -126);
});

describe('properties', () => {
  test('pow2_up is the smallest power of two with amax / s ≤ max', () => {
    fc.assert(
      fc.property(anyAmax, anyMax, (amax, max) => {
        const scale = computeScale(amax, { max, rounding: 'pow2_up' });
        expect(isPowerOfTwo(scale)).toBe(true);
        // Dividing by a power of two is exact in f64.
        if (scale < 2 ** 127) expect(amax / scale).toBeLessThanOrEqual(max);
        if (scale > 2 ** -126) expect(amax / (scale / 2)).toBeGreaterThan(max);
      }),
      { numRuns: 2000 },
    );
  });

  test('pow2_nearest is within 3/4 and 3/2 of the quotient', () => {
    fc.assert(
      fc.property(anyAmax, anyMax, (amax, max) => {
        const scale = computeScale(amax, { max, rounding: 'pow2_nearest' });
        expect(isPowerOfTwo(scale)).toBe(true);
        // quotient < 1.5·s and quotient ≥ 0.75·s, without a division: every product below is exact in f64.
        if (scale < 2 ** 127) expect(2 * amax).toBeLessThan(3 * max * scale);
        if (scale > 2 ** -126) expect(4 * amax).toBeGreaterThanOrEqual(3 * max * scale);
      }),
      { numRuns: 2000 },
    );
  });

  test('a scaled block never saturates with pow2_up', () => {
    fc.assert(
      fc.property(anyAmax, fc.constantFrom(...Object.values(floatFormats)), (amax, format) => {
        if (format.maxFinite > 65504) return;
        const scale = computeScale(amax, { max: format.maxFinite, rounding: 'pow2_up' });
        if (scale < 2 ** 127) expect(format.encode(amax / scale, false)).toBe(format.encode(amax / scale, true));
      }),
    );
  });

  test('the sign of amax does not count', () => {
    for (const rounding of ['none', 'pow2_up', 'pow2_nearest'] as const)
      expect(computeScale(-3, { max: 448, rounding })).toBe(computeScale(3, { max: 448, rounding }));
  });
});

test.each([0, 0.5, -448, Number.NaN, Number.POSITIVE_INFINITY, 1e39])('max %d is refused', (max) => {
  expect(() => computeScale(1, { max, rounding: 'pow2_up' })).toThrow(
    expect.objectContaining({ code: 'scale-max-invalid' }),
  );
});
