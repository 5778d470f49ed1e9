import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MismatchAccumulator, type MismatchMetrics } from '../src/index.ts';
import { golden } from './support/golden.ts';

interface TokenPair {
  readonly generation: number;
  readonly train: number;
}

function accumulated(...batches: readonly (readonly TokenPair[])[]): MismatchAccumulator {
  const accumulator = new MismatchAccumulator();
  for (const batch of batches) {
    accumulator.add(
      batch.map(({ generation }) => generation),
      batch.map(({ train }) => train),
    );
  }
  return accumulator;
}

test('agrees with numpy', () => {
  const accumulator = new MismatchAccumulator();
  for (const [i, generation] of golden.generation.entries()) accumulator.add(generation, golden.training[i]!);
  const metrics = accumulator.metrics();
  for (const [name, value] of Object.entries(golden.mismatch)) {
    expect(metrics[name as keyof MismatchMetrics], name).toBeCloseTo(value, 13);
  }
});

const perfect = {
  token_mult_prob_error: 1,
  gen_kl_error: 0,
  policy_kl_error: 0,
  js_divergence_error: 0,
  sampling_importance_ratio: 1,
  mismatched_tokens: 0,
  max_abs_logprob_diff: 0,
};

test('equal bits give exactly 1 and 0', () => {
  const logprobs = fc.array(fc.float({ max: 0, noNaN: true }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(fc.array(logprobs, { minLength: 1, maxLength: 5 }), (batches) => {
      const accumulator = new MismatchAccumulator();
      for (const batch of batches) accumulator.add(Float32Array.from(batch), Float32Array.from(batch));
      expect(accumulator.metrics()).toEqual({ tokens: batches.flat().length, ...perfect });
    }),
  );
});

test('one f32 bit in a million tokens is seen', () => {
  const generation = new Float32Array(1_000_000).fill(-0.5);
  const train = Float32Array.from(generation);
  train[123_456] = -0.5 + 2 ** -25;
  const accumulator = new MismatchAccumulator();
  accumulator.add(generation, train);
  const metrics = accumulator.metrics();
  expect(metrics.mismatched_tokens).toBe(1);
  expect(metrics.max_abs_logprob_diff).toBe(2 ** -25);
  expect(metrics.token_mult_prob_error).toBeGreaterThan(1);
  expect(metrics.gen_kl_error).toBeCloseTo(2 ** -51 / 1e6, 28);
});

const pair = fc.record({
  generation: fc.float({ min: -30, max: 0, noNaN: true }),
  train: fc.float({ min: -30, max: 0, noNaN: true }),
});

test('batches in any order, merged in any way, give the same bits', () => {
  fc.assert(
    fc.property(
      fc.array(pair, { minLength: 1, maxLength: 60 }),
      fc.array(fc.nat(60), { maxLength: 3 }),
      (all, cuts) => {
        const bounds = [0, ...cuts.map((cut) => Math.min(cut, all.length)).sort((a, b) => a - b), all.length];
        const parts = bounds.slice(1).map((end, i) => all.slice(bounds[i], end));
        const whole = accumulated(all).metrics();
        expect(accumulated(...parts).metrics()).toEqual(whole);
        expect(accumulated([...all].reverse()).metrics()).toEqual(whole);
        const merged = new MismatchAccumulator();
        for (const part of [...parts].reverse()) merged.merge(accumulated(part));
        expect(merged.metrics()).toEqual(whole);
        expect(merged.tokens).toBe(all.length);
      },
    ),
  );
});

test('metrics may be asked for in between', () => {
  const [equal, other] = [
    { generation: -1, train: -1 },
    { generation: -1, train: -2 },
  ];
  const accumulator = accumulated([equal, other]);
  const first = accumulator.metrics();
  expect(accumulator.metrics()).toEqual(first);
  accumulator.add([-1], [-1]);
  expect(accumulator.metrics()).toEqual(accumulated([equal, equal, other]).metrics());
});

test('masked tokens do not count', () => {
  const accumulator = new MismatchAccumulator();
  accumulator.add([-1, -2, -3], [-1, -9, Number.NaN], [1, 0, 0]);
  accumulator.add([-1, -2], [-1, -9], [true, false]);
  expect(accumulator.metrics()).toEqual({ tokens: 2, ...perfect });
});

test('what is not finite is never hidden', () => {
  const notANumber = accumulated([{ generation: Number.NaN, train: Number.NaN }], [{ generation: -1, train: -1 }]);
  expect(notANumber.metrics()).toMatchObject({ mismatched_tokens: 1, token_mult_prob_error: Number.NaN });
  const infinite = accumulated([{ generation: Number.NEGATIVE_INFINITY, train: -1 }]);
  expect(infinite.metrics().token_mult_prob_error).toBe(Number.POSITIVE_INFINITY);
  const overflow = accumulated([
    { generation: -709, train: 0 },
    { generation: -709.5, train: 0 },
    { generation: -709.7, train: 0 },
  ]);
  expect(overflow.metrics().token_mult_prob_error).toBe(Number.POSITIVE_INFINITY);
});

test('no tokens and unequal lengths are errors', () => {
  const accumulator = new MismatchAccumulator();
  accumulator.add([-1], [-2], [0]);
  expect(() => accumulator.metrics()).toThrow(expect.objectContaining({ code: 'mismatch-no-tokens' }));
  const length = expect.objectContaining({ code: 'mismatch-length' });
  expect(() => accumulator.add([-1], [-1, -2])).toThrow(length);
  expect(() => accumulator.add([-1], [-1], [])).toThrow(length);
});
