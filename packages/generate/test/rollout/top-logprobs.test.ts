import fc from 'fast-check';
import { expect, test } from 'vitest';
import { topLogprobs } from '../../src/rollout/top-logprobs.ts';

test('the most probable tokens are the first of all in order', () => {
  const value = fc.oneof(fc.constantFrom(-1, -2, Number.NEGATIVE_INFINITY), fc.float({ max: 0, noNaN: true }));
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 8 }), (values, count) => {
      const row = Float32Array.from(values);
      const sorted = Array.from(row, (logprob, token) => ({ token, logprob })).sort(
        (a, b) => (a.logprob === b.logprob ? 0 : b.logprob - a.logprob) || a.token - b.token,
      );
      expect(topLogprobs(row, count)).toEqual(sorted.slice(0, count));
    }),
  );
});
