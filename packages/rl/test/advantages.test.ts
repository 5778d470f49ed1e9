import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  batchBaseline,
  type GroupRelativeOptions,
  groupRelative,
  informativeGroups,
  overlongReward,
  rewardToGo,
  tokenWeights,
} from '../src/index.ts';
import { golden } from './support/golden.ts';

const options = (changes: Partial<GroupRelativeOptions> = {}): GroupRelativeOptions => ({
  ...{ baseline: 'mean', std: 'sample', eps: 1e-6 },
  ...changes,
});

function expectClose(found: readonly number[], expected: readonly number[]): void {
  expect(found).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(found[i]).toBeCloseTo(value, 12);
}

test('a step without any known reward has groups without advantages', () => {
  for (const estimator of [batchBaseline('mean'), batchBaseline({ decay: 0.9 }), groupRelative(options())]) {
    expect(estimator.estimate([[], []]).groups).toEqual([
      { advantages: [], skipped: true },
      { advantages: [], skipped: true },
    ]);
  }
});

describe('within groups', () => {
  test('large and tiny rewards: the same advantages, by powers of two to the bit', () => {
    const advantages = (rewards: readonly number[]) =>
      groupRelative(options({ eps: 0 })).estimate([rewards]).groups[0]!.advantages;
    const expected = advantages([1, 0.25, 0, 0.75]);
    for (const unit of [2 ** 1000, 2 ** 60, 2 ** -60, 2 ** -1000]) {
      expect(advantages([unit, 0.25 * unit, 0, 0.75 * unit])).toEqual(expected);
    }
    expectClose(advantages([1e308, -1e308]), [Math.SQRT1_2, -Math.SQRT1_2]);
    expectClose(advantages([0, 1e-200]), [-Math.SQRT1_2, Math.SQRT1_2]);
  });

  test('an advantage that no f32 holds is refused', () => {
    expect(() => rewardToGo(1e300, 3, 1)).toThrow(expect.objectContaining({ code: 'rl-reward-not-finite' }));
  });

  test.each(golden.group_relative.map((item) => [JSON.stringify(item.options), item] as const))(
    '%s agrees with numpy',
    (_, item) => {
      const { groups } = groupRelative(item.options).estimate(golden.rewards);
      for (const [i, { advantages }] of groups.entries()) expectClose(advantages, item.advantages[i]!);
    },
  );

  test('by hand: rewards 1, 0, 0, 1 are half a unit from their mean, with a deviation of 1/√3', () => {
    const { groups } = groupRelative(options({ eps: 0 })).estimate([[1, 0, 0, 1]]);
    const [r] = [Math.sqrt(3) / 2];
    expectClose(groups[0]!.advantages, [r, -r, -r, r]);
    expect(groups[0]!.skipped).toBe(false);
  });

  test('by hand: 4 among two zeros is 4 above the others, which are 2 below theirs', () => {
    const { groups } = groupRelative(options({ baseline: 'leave-one-out', std: 'none' })).estimate([[4, 0, 0]]);
    expectClose(groups[0]!.advantages, [4, -2, -2]);
  });

  test('equal rewards, one sample and none have advantages of exactly 0, and are marked', () => {
    for (const std of ['sample', 'population', 'none'] as const) {
      for (const baseline of ['mean', 'leave-one-out'] as const) {
        const { groups } = groupRelative({ baseline, std, eps: 0 }).estimate([[0.1, 0.1, 0.1], [3], []]);
        expect(groups).toEqual([
          { advantages: [0, 0, 0], skipped: true },
          { advantages: [0], skipped: true },
          { advantages: [], skipped: true },
        ]);
      }
    }
  });

  test('advantages are finite, sum to 0, and do not change with a constant in all rewards', () => {
    const rewards = fc.array(fc.integer({ min: -8, max: 8 }), { minLength: 1, maxLength: 12 });
    const choices = fc.record({
      baseline: fc.constantFrom('mean' as const, 'leave-one-out' as const),
      std: fc.constantFrom('sample' as const, 'population' as const, 'none' as const),
      eps: fc.constantFrom(0, 1e-6),
    });
    fc.assert(
      fc.property(rewards, choices, (group, chosen) => {
        const estimator = groupRelative(chosen);
        const [first, moved] = estimator.estimate([group, group.map((reward) => reward + 16)]).groups;
        expect(first!.advantages.every(Number.isFinite)).toBe(true);
        expect(first!.advantages.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 9);
        expectClose(moved!.advantages, first!.advantages);
      }),
    );
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('a reward of %s is refused, with its place', (reward) => {
    const error = { code: 'rl-reward-not-finite', where: { group: 1, sample: 2 } };
    for (const estimator of [groupRelative(options()), batchBaseline('mean')]) {
      expect(() => estimator.estimate([[1], [0, 1, reward]])).toThrow(expect.objectContaining(error));
    }
  });
});

describe('with one baseline for the batch', () => {
  test('the mean', () => {
    const { groups, memory } = batchBaseline('mean').estimate([[1, 2], [6]]);
    expect(groups.map(({ advantages }) => advantages)).toEqual([[-2, -1], [3]]);
    expect(memory).toBeUndefined();
  });

  test('equal rewards leave nothing to learn', () => {
    const { groups } = batchBaseline('mean').estimate([[0.1, 0.1], [0.1]]);
    expect(groups.map(({ skipped }) => skipped)).toEqual([true, true]);
  });

  test('the moving average is that of the batches before', () => {
    const estimator = batchBaseline({ decay: 0.75 });
    const first = estimator.estimate([[1, 3]]);
    expect(first).toEqual({ groups: [{ advantages: [-1, 1], skipped: false }], memory: 2 });
    const second = estimator.estimate([[6], [6]], first.memory);
    expect(second.groups.map(({ advantages }) => advantages)).toEqual([[4], [4]]);
    expect(second.memory).toBe(0.75 * 2 + 0.25 * 6);
    expect(estimator.estimate([], second.memory)).toEqual({ groups: [], memory: 3 });
  });
});

test('dynamic sampling leaves out groups whose rewards are all equal, and counts them', () => {
  expect(informativeGroups([[1, 0], [0, 0], [1, 1], [0.5], [], [0, 1]])).toEqual({ kept: [0, 5], dropped: 4 });
});

test('overlong responses lose up to the penalty, in a straight line over the last tokens', () => {
  const zone = { maxTokens: 100, bufferTokens: 20, penalty: 2 };
  const rewards = [1, 80, 81, 90, 100, 130].map((length) => overlongReward(length, zone));
  expectClose(rewards, [0, 0, -0.1, -1, -2, -2]);
  expect(overlongReward(130, { ...zone, bufferTokens: 0 })).toBe(0);
});

test('the reward at the end is worth less at the tokens before', () => {
  expect([...rewardToGo(8, 4, 0.5)]).toEqual([1, 2, 4, 8]);
  expect([...rewardToGo(-3, 3, 1)]).toEqual([-3, -3, -3]);
});

describe('aggregation', () => {
  test('by hand: sequences of 1 and 3 tokens', () => {
    expect(tokenWeights('token-mean', [1, 3], 10)).toEqual([1 / 4, 1 / 4]);
    expect(tokenWeights('sequence-mean', [1, 3], 10)).toEqual([1 / 2, 1 / 6]);
    expect(tokenWeights('sequence-sum', [1, 3], 10)).toEqual([1 / 2, 1 / 2]);
    expect(tokenWeights('constant', [1, 3], 10)).toEqual([1 / 20, 1 / 20]);
  });

  test('means weigh 1 together', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 500 }), { minLength: 1, maxLength: 40 }), (lengths) => {
        for (const aggregation of ['token-mean', 'sequence-mean'] as const) {
          const weights = tokenWeights(aggregation, lengths, 1);
          expect(lengths.reduce((sum, length, i) => sum + length * weights[i]!, 0)).toBeCloseTo(1, 12);
        }
      }),
    );
  });

  test('a sequence without tokens is refused', () => {
    const error = { code: 'rl-empty-sequence', where: { sequence: 1 } };
    expect(() => tokenWeights('token-mean', [1, 0], 1)).toThrow(expect.objectContaining(error));
  });
});
