import { expect, test } from 'vitest';
import { parseAlgorithm } from '../../src/algorithms/registry.ts';
import type { Experience, Sample } from '../../src/loop/experience.ts';
import { lessonsOf } from '../../src/loop/lessons.ts';

function sample(length: number, reward: number): Sample {
  const tokens = Array.from({ length }, (_, i) => i);
  const turn = { ...{ id: 0, sample: 0, prompt: [1, 2], tokens }, logprobs: new Float32Array(length) };
  return {
    turns: [turn as unknown as Sample['turns'][number]],
    reward: { status: 'ok', reward, correct: reward === 1 },
  };
}

/** A group that has something to teach, and one that has not. */
const experience: Experience = {
  groups: [
    [sample(3, 1), sample(5, 0)],
    [sample(7, 1), sample(9, 1)],
  ].map((samples) => ({ problem: { id: '0', messages: [], data: null }, samples })),
  rounds: 1,
  work: { flops: 0, bytes: 0 },
  policyVersion: 0,
  seconds: { rollout: 1, reward: 1 },
};

const planOf = (options: Record<string, unknown>) => parseAlgorithm({ name: 'grpo', ...options }).plan;

test('sequences without an advantage are not computed, and count in the mean', () => {
  const { kept, skippedGroups } = lessonsOf(experience, planOf({ aggregation: 'token-mean' }), 16, undefined);
  expect(kept.map(({ tokens }) => tokens.length)).toEqual([3, 5]);
  expect(kept.map(({ weight }) => weight)).toEqual([1 / 24, 1 / 24]);
  expect(skippedGroups).toBe(1);
});

test('a discount goes on over the turns of a conversation', () => {
  const turns = [...sample(2, 1).turns, ...sample(3, 1).turns];
  const groups = [{ ...experience.groups[0]!, samples: [{ ...sample(1, 1), turns }, sample(1, 0)] }];
  const plan = parseAlgorithm({ name: 'ppo', discount: 0.5 }).plan;
  const { kept } = lessonsOf({ ...experience, groups }, plan, 16, undefined);
  expect(kept.map(({ advantages }) => [...advantages])).toEqual([[0.0625, 0.125], [0.25, 0.5, 1], [-1]]);
});

test('a penalty is computed for all sequences', () => {
  const plan = planOf({ aggregation: 'sequence-mean', entropy_coefficient: 0.1 });
  const { kept } = lessonsOf(experience, plan, 16, undefined);
  expect(kept.map(({ tokens, weight }) => weight * tokens.length)).toEqual([1 / 4, 1 / 4, 1 / 4, 1 / 4]);
});

test('where no group teaches anything there is nothing to compute', () => {
  const equal: Experience = { ...experience, groups: experience.groups.slice(1) };
  expect(lessonsOf(equal, planOf({}), 16, undefined)).toMatchObject({ kept: [], skippedGroups: 1 });
});
