import { describe, expect, test } from 'vitest';
import { bitsToF32, exp32, f32ToBits, log32 } from '../src/index.ts';
import { asFloats, goldenColumns } from './golden-columns.ts';

/** Distance from `found` to the exact `reference`, in units in the last place of the f32 nearest to `reference`. */
function ulpError(found: number, reference: number): number {
  const nearest = Math.abs(Math.fround(reference));
  const ulp = Math.max(bitsToF32(f32ToBits(nearest) + 1) - nearest, 2 ** -149);
  return Math.abs(found - reference) / ulp;
}

function worst(inputs: Iterable<number>, ours: (x: number) => number, reference: (x: number) => number): number {
  let most = 0;
  for (const x of inputs) most = Math.max(most, ulpError(ours(x), reference(x)));
  return most;
}

function* everyF32(first: number, last: number, step = 1): Generator<number> {
  for (let bits = f32ToBits(first); bits <= f32ToBits(last); bits += step) yield bitsToF32(bits);
}

describe.each([
  { name: 'exp32', ours: exp32, cases: 6506 },
  { name: 'log32', ours: log32, cases: 6008 },
])('$name', ({ name, ours, cases }) => {
  test('has the bits of the same operations in numpy float32', () => {
    const [inputs, expected] = goldenColumns(name, 2);
    expect(inputs!.length).toBe(cases);
    for (const [i, x] of asFloats(inputs!).entries())
      if (f32ToBits(ours(x)) !== expected![i]) expect.fail(`${name}(${x}) = ${ours(x)}`);
  });
});

describe('exp32', () => {
  test('is within 1 ULP of e^x over its whole range', () => {
    const error = Math.max(
      worst(everyF32(2 ** -30, 88.72283, 997), exp32, Math.exp),
      worst(
        everyF32(2 ** -30, 87.33654, 997),
        (x) => exp32(-x),
        (x) => Math.exp(-x),
      ),
      worst(
        everyF32(1 / 16, 1, 61),
        (x) => exp32(-x),
        (x) => Math.exp(-x),
      ),
    );
    expect(error).toBeGreaterThan(0.5);
    expect(error).toBeLessThan(1);
  });

  test('special values and the ends of the range', () => {
    expect(exp32(Number.NaN)).toBeNaN();
    expect(exp32(0)).toBe(1);
    expect(exp32(-0)).toBe(1);
    expect(exp32(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
    expect(Object.is(exp32(Number.NEGATIVE_INFINITY), 0)).toBe(true);
    const largest = 88.72283172607422;
    expect(exp32(largest)).toBeGreaterThan(3.4e38);
    expect(exp32(largest)).toBeLessThan(Number.POSITIVE_INFINITY);
    expect(exp32(bitsToF32(f32ToBits(largest) + 1))).toBe(Number.POSITIVE_INFINITY);
    const smallest = -87.33654022216797;
    expect(exp32(smallest)).toBeGreaterThanOrEqual(2 ** -126);
    expect(exp32(bitsToF32(f32ToBits(smallest) + 1))).toBe(0);
  });

  test('never gives a subnormal number', () => {
    for (const x of everyF32(87.3, 87.34)) {
      const y = exp32(-x);
      if (y !== 0 && y < 2 ** -126) expect.fail(`exp32(${-x}) = ${y}`);
    }
  });
});

describe('log32', () => {
  test('is within 0.84 ULP of ln x over its whole range, subnormals included', () => {
    const error = worst(everyF32(2 ** -149, 3.4e38, 4999), log32, Math.log);
    expect(error).toBeGreaterThan(0.5);
    expect(error).toBeLessThan(0.84);
  });

  test('is within 0.84 ULP for every f32 from 0.99 to 1.01 and every 11th from 0.5 to 2', () => {
    expect(worst(everyF32(0.5, 2, 11), log32, Math.log)).toBeLessThan(0.84);
    expect(worst(everyF32(0.99, 1.01), log32, Math.log)).toBeLessThan(0.84);
  });

  test('special values', () => {
    expect(log32(Number.NaN)).toBeNaN();
    expect(log32(-1)).toBeNaN();
    expect(log32(Number.NEGATIVE_INFINITY)).toBeNaN();
    expect(log32(0)).toBe(Number.NEGATIVE_INFINITY);
    expect(log32(-0)).toBe(Number.NEGATIVE_INFINITY);
    expect(log32(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
    expect(Object.is(log32(1), 0)).toBe(true);
  });
});
