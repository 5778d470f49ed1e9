/** @file A bandit whose best arm is known: all algorithms find it, from their own advantages, losses and gradients. */
import { cpuPlugin } from '@quaver/executor-cpu';
import { uniform } from '@quaver/numerics';
import { expect, test } from 'vitest';
import { algorithms, parseAlgorithm, rewardToGo, tokenWeights } from '../src/index.ts';
import { ObjectiveSession } from './support/objective-session.ts';

/** Chance of a reward of 1. */
const arms = [0.2, 0.5, 0.1, 0.8];
const best = 3;
const [pulls, groupSize, steps] = [32, 8, 80];

function softmax(logits: readonly number[]): number[] {
  const exps = logits.map(Math.exp);
  const sum = exps.reduce((total, value) => total + value, 0);
  return exps.map((value) => value / sum);
}

function draw(chances: readonly number[], u: number): number {
  let rest = u;
  for (const [arm, chance] of chances.entries()) {
    rest -= chance;
    if (rest < 0) return arm;
  }
  return chances.length - 1;
}

const configs: readonly { readonly name: string; readonly [option: string]: unknown }[] = [
  ...algorithms.map(({ name }) => ({ name })),
  { name: 'reinforce', baseline: 'ema' },
  { name: 'grpo', epochs: 3, entropy_coefficient: 0.01 },
];

test.each(configs.map((config) => [JSON.stringify(config), config] as const))('%s', async (_, config) => {
  await using executor = await cpuPlugin.open({ threads: 1 });
  const { plan } = parseAlgorithm(config);
  await using session = await ObjectiveSession.open(plan.objective, arms.length, executor);
  const theta = arms.map(() => 0);
  let memory: number | undefined;
  for (let step = 0; step < steps; step++) {
    const chance = (i: number, use: number) => uniform(7, step, 2 * i + use);
    const policy = softmax(theta);
    const pulled = Array.from({ length: pulls }, (__, i) => draw(policy, chance(i, 0)));
    const rewards = pulled.map((arm, i) => (chance(i, 1) < arms[arm]! ? 1 : 0));
    const groups = Array.from({ length: pulls / groupSize }, (__, i) =>
      rewards.slice(i * groupSize, (i + 1) * groupSize),
    );
    const estimate = plan.advantage.estimate(groups, memory);
    memory = estimate.memory;
    const advantages = estimate.groups.flatMap((group) => group.advantages);
    const weights = tokenWeights(plan.aggregation, new Array<number>(pulls).fill(1), plan.constantLength ?? 1);
    for (let epoch = 0; epoch < plan.epochs; epoch++) {
      const { gradient } = await session.run({
        shape: [pulls, 1, arms.length],
        logits: pulled.flatMap(() => theta),
        targets: pulled,
        weights,
        inputs: {
          advantages: advantages.flatMap((value) => [...rewardToGo(value, 1, plan.discount)]),
          correction: weights.map(() => 1),
          old_logprobs: pulled.map((arm) => Math.log(policy[arm]!)),
        },
      });
      for (const [i, value] of gradient.entries()) theta[i % arms.length]! -= value;
    }
  }
  expect(softmax(theta)[best]).toBeGreaterThan(0.95);
});
