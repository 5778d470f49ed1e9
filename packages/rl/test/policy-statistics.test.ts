import { expect, test } from 'vitest';
import { type PolicyStatistics, PolicyStatisticsSum, type RatioClip } from '../src/index.ts';
import { golden } from './support/golden.ts';

test.each(golden.policy_statistics.map((item) => [JSON.stringify(item.clip), item] as const))(
  '%s agrees with numpy',
  (_, { clip, statistics }) => {
    const sum = new PolicyStatisticsSum(clip);
    for (const [i, logprobs] of golden.logprobs.entries()) {
      const advantages = logprobs.map(() => golden.advantages[i]!);
      sum.add(logprobs, golden.old_logprobs[i]!, advantages);
    }
    const found = sum.result()!;
    for (const [name, value] of Object.entries(statistics)) {
      expect(found[name as keyof PolicyStatistics], name).toBeCloseTo(value, 12);
    }
  },
);

test('by hand: ratios 2 and 1/2 with advantages of both signs', () => {
  const clip: RatioClip = { ratio: 'token', low: 0.2, high: 0.2, bySign: true };
  const [up, down] = [Math.log(0.25), 0];
  const logprobs = new Array<number>(4).fill(Math.log(0.5));
  const sum = new PolicyStatisticsSum(clip);
  sum.add(logprobs, [up, up, down, down], [1, -1, 1, -1]);
  const result = sum.result()!;
  expect(result).toMatchObject({ tokens: 4, clip_fraction_low: 1 / 4, clip_fraction_high: 1 / 4 });
  expect(result.mean_ratio).toBeCloseTo((2 + 2 + 0.5 + 0.5) / 4, 14);
  expect(result.approx_kl).toBeCloseTo((2 * (1 - Math.LN2) + 2 * (Math.LN2 - 0.5)) / 4, 14);
  expect(result.entropy).toBeCloseTo(Math.LN2, 14);
});

test('of the policy itself: nothing moved', () => {
  const sum = new PolicyStatisticsSum();
  sum.add([-1, -2], [-1, -2], [1, -1]);
  const expected = {
    tokens: 2,
    clip_fraction_low: 0,
    clip_fraction_high: 0,
    approx_kl: 0,
    mean_ratio: 1,
    entropy: 1.5,
  };
  expect(sum.result()).toEqual(expected);
});

test('no tokens have no statistics, and unequal lengths are an error', () => {
  const sum = new PolicyStatisticsSum();
  expect(sum.result()).toBeUndefined();
  expect(() => sum.add([-1], [-1], [1, 2])).toThrow(expect.objectContaining({ code: 'mismatch-length' }));
});
