import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fillNormal, normalQuantile, philox4x32 } from '../src/index.ts';

/** Probability → `statistics.NormalDist().inv_cdf` of Python 3.12 (AS 241 in its version of 16 digits, f64). */
const table: readonly (readonly [p: number, z: number])[] = [
  [2 ** -33, -6.337957754553789],
  [1e-30, -11.464024688443617],
  [1e-12, -7.034483825301132],
  [1e-9, -5.9978070150076865],
  [1e-7, -5.199337582192817],
  [1e-5, -4.2648907939228256],
  [2 ** -14, -3.8419306855019095],
  [0.001, -3.090232306167813],
  [0.0249, -1.9616778690637862],
  [0.05, -1.6448536269514726],
  [0.0749999, -1.4395321773759004],
  [0.075, -1.4395314709384557],
  [0.1, -1.2815515655446008],
  [0.2, -0.8416212335729142],
  [0.3, -0.5244005127080407],
  [0.4, -0.2533471031357998],
  [0.49, -0.025068908258711057],
  [0.5, 0],
  [0.51, 0.025068908258711057],
  [0.7, 0.5244005127080407],
  [0.925, 1.439531470938456],
  [0.9251, 1.4402382675279632],
  [0.975, 1.9599639845400536],
  [0.999, 3.090232306167813],
  [1 - 2 ** -10, 3.097269078198784],
  [1 - 2 ** -20, 4.7630010342678135],
  [1 - 2 ** -33, 6.337957754553789],
];

test.each(table)('the quantile of %d is %d', (p, z) => {
  expect(Math.abs(normalQuantile(p) - z)).toBeLessThanOrEqual(2.5e-7 * Math.abs(z));
});

test('the ends are infinite, and there is nothing beyond them', () => {
  expect([0, 1, -0.1, 1.1, Number.NaN].map(normalQuantile)).toEqual([
    Number.NEGATIVE_INFINITY,
    Number.POSITIVE_INFINITY,
    Number.NaN,
    Number.NaN,
    Number.NaN,
  ]);
});

test('quantiles are antisymmetric and grow', () => {
  const share = fc.integer({ min: 1, max: 2 ** 32 - 1 });
  fc.assert(
    fc.property(share, share, (a, b) => {
      const at = (part: number) => normalQuantile(part / 2 ** 32);
      expect(at(a)).toBe(0 - at(2 ** 32 - a));
      if (Math.abs(a - b) > 2 ** 12) expect(Math.sign(at(a) - at(b))).toBe(Math.sign(a - b));
    }),
  );
});

test('element i is the quantile of word i mod 4 of step ⌊i/4⌋', () => {
  const values = new Float32Array(11);
  const [seed, stream] = [2 ** 40 + 3, 9];
  fillNormal(values, 0.02, { seed, stream });
  values.forEach((value, i) => {
    const words = philox4x32([Math.floor(i / 4), 0, stream, 0], [3, 2 ** 8]);
    expect(value).toBe(Math.fround(0.02 * normalQuantile((words[i % 4]! + 0.5) / 2 ** 32)));
  });
});

test('a piece has the numbers of the whole', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), fc.nat(10), fc.nat(40), (seed, stream, steps, length) => {
      const first = 4 * steps;
      const whole = new Float32Array(first + length);
      fillNormal(whole, 1, { seed, stream });
      const piece = new Float32Array(length);
      fillNormal(piece, 1, { seed, stream, first });
      expect(piece).toEqual(whole.slice(first));
    }),
  );
});

test('the moments and shares are those of the normal distribution', () => {
  const count = 2 ** 18;
  const values = new Float32Array(count);
  fillNormal(values, 1, { seed: 5, stream: 0 });
  const moment = (power: number) => values.reduce((sum, x) => sum + x ** power, 0) / count;
  // A moment of order k has the variance (E[x^2k] − E[x^k]²)/n, with E[x²] = 1, E[x⁴] = 3, E[x⁶] = 15, E[x⁸] = 105.
  const within = (found: number, expected: number, variance: number) =>
    expect(Math.abs(found - expected)).toBeLessThan(4 * Math.sqrt(variance / count));
  within(moment(1), 0, 1);
  within(moment(2), 1, 3 - 1);
  within(moment(3), 0, 15);
  within(moment(4), 3, 105 - 9);
  for (const [deviations, share] of [
    [1, 0.6826894921370859],
    [2, 0.9544997361036416],
    [3, 0.9973002039367398],
  ] as const) {
    const found = values.filter((x) => Math.abs(x) < deviations).length / count;
    within(found, share, share * (1 - share));
  }
});
