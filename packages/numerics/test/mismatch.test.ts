import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mismatchMetrics } from '../src/index.ts';

test('a perfect run is exactly perfect, log-probs of −Inf included', () => {
  const logprob = fc.oneof(fc.float({ min: -50, max: 0, noNaN: true }), fc.constant(Number.NEGATIVE_INFINITY));
  fc.assert(
    fc.property(fc.array(logprob, { minLength: 1, maxLength: 50 }), (logprobs) => {
      expect(mismatchMetrics(logprobs, logprobs)).toEqual({
        tokens: logprobs.length,
        token_mult_prob_error: 1,
        gen_kl_error: 0,
        policy_kl_error: 0,
        js_divergence_error: 0,
        sampling_importance_ratio: 1,
        mismatched_tokens: 0,
        max_abs_logprob_diff: 0,
      });
    }),
  );
});

test('two tokens by hand: p − g = ln 2 on one, equal on the other', () => {
  const g = [Math.log(0.25), -1];
  const p = [Math.log(0.5), -1];
  const metrics = mismatchMetrics(g, p);
  expect(metrics.tokens).toBe(2);
  expect(metrics.token_mult_prob_error).toBeCloseTo((2 + 1) / 2, 14);
  expect(metrics.sampling_importance_ratio).toBeCloseTo((2 + 1) / 2, 14);
  expect(metrics.gen_kl_error).toBeCloseTo((2 - 1 - Math.LN2) / 2, 14);
  expect(metrics.policy_kl_error).toBeCloseTo((0.5 - 1 + Math.LN2) / 2, 14);
  // The mixture has probability 0.375: ratios 4/3 and 2/3.
  const half = (ratio: number) => 0.5 * (ratio - 1 - Math.log(ratio));
  expect(metrics.js_divergence_error).toBeCloseTo((half(4 / 3) + half(2 / 3)) / 2, 14);
  expect(metrics.mismatched_tokens).toBe(1);
  expect(metrics.max_abs_logprob_diff).toBeCloseTo(Math.LN2, 14);
});

test('masked tokens do not count', () => {
  const metrics = mismatchMetrics([-1, -2, -3], [-1, -9, -3.5], [1, 0, 1]);
  expect(metrics).toEqual(mismatchMetrics([-1, -3], [-1, -3.5]));
  expect(metrics.mismatched_tokens).toBe(1);
  expect(metrics.max_abs_logprob_diff).toBe(0.5);
  expect(mismatchMetrics([-1, -2], [-1, -9], [true, false]).mismatched_tokens).toBe(0);
});

test('exchanging the phases exchanges the divergences', () => {
  const logprobs = fc.array(fc.double({ min: -20, max: 0, noNaN: true }), { minLength: 5, maxLength: 5 });
  fc.assert(
    fc.property(logprobs, logprobs, (g, p) => {
      const forward = mismatchMetrics(g, p);
      const backward = mismatchMetrics(p, g);
      expect(forward.gen_kl_error).toBe(backward.policy_kl_error);
      expect(forward.js_divergence_error).toBeCloseTo(backward.js_divergence_error, 12);
      expect(forward.token_mult_prob_error).toBe(backward.token_mult_prob_error);
      expect(forward.token_mult_prob_error).toBeGreaterThanOrEqual(1);
      for (const key of ['gen_kl_error', 'policy_kl_error', 'js_divergence_error'] as const)
        expect(forward[key]).toBeGreaterThanOrEqual(0);
    }),
  );
});

test('a NaN log-prob never looks perfect', () => {
  const metrics = mismatchMetrics([Number.NaN, -1], [Number.NaN, -1]);
  expect(metrics.mismatched_tokens).toBe(1);
  expect(metrics.token_mult_prob_error).toBeNaN();
  expect(metrics.max_abs_logprob_diff).toBeNaN();
});

test('no tokens and unequal lengths are errors', () => {
  const noTokens = expect.objectContaining({ code: 'mismatch-no-tokens' });
  const length = expect.objectContaining({ code: 'mismatch-length' });
  expect(() => mismatchMetrics([], [])).toThrow(noTokens);
  expect(() => mismatchMetrics([-1], [-1], [0])).toThrow(noTokens);
  expect(() => mismatchMetrics([-1], [-1, -2])).toThrow(length);
  expect(() => mismatchMetrics([-1], [-1], [])).toThrow(length);
});
