/** @file Samples with their advantages: what is left of a step's samples to learn from. */
import { informativeGroups } from '../advantages/informative-groups.ts';
import { rewardToGo } from '../advantages/reward-to-go.ts';
import { tokenWeights } from '../aggregation.ts';
import type { AlgorithmPlan } from '../algorithms/algorithm.ts';
import type { Experience, Group } from './experience.ts';

/** A sampled sequence to learn from: one turn, whose advantage is that of its conversation. */
export interface Lesson {
  readonly prompt: readonly number[];
  readonly tokens: readonly number[];
  /** Of the sampled tokens, when they were generated. */
  readonly logprobs: Float32Array;
  /** Of each sampled token. */
  readonly advantages: Float32Array;
  /** How much each of its tokens counts in the loss of the step. */
  readonly weight: number;
}

export interface Lessons {
  /** Those without a gradient are not among them, but count in the weights of the others. */
  readonly kept: readonly Lesson[];
  /** Groups whose rewards are all equal, or too few of them known. */
  readonly skippedGroups: number;
  /** For the next step's advantages. */
  readonly memory: number | undefined;
}

/** Samples whose reward is not known are left out of their group. */
export function lessonsOf(
  { groups, rounds }: Experience,
  plan: AlgorithmPlan,
  maxTokens: number,
  memory: number | undefined,
): Lessons {
  const judged = groups.map((group) => knownSamples(group));
  const rewards = judged.map((samples) =>
    samples.map(({ turns, reward }) => reward + plan.lengthReward(turns.at(-1)!.tokens.length, maxTokens)),
  );
  const estimate = plan.advantage.estimate(rewards, memory);
  // By the task's own rewards: responses that differ in length alone teach nothing.
  const own = judged.map((samples) => samples.map(({ reward }) => reward));
  const all = plan.dropsEqualGroups ? informativeGroups(own).kept : [...judged.keys()];
  // What more rounds gave beyond the prompts of a step would make some steps larger than others.
  const informative = new Set(all.slice(0, Math.ceil(groups.length / rounds)));
  let skippedGroups = 0;
  const counted: Omit<Lesson, 'weight'>[] = [];
  for (const [g, samples] of judged.entries()) {
    const { advantages, skipped } = estimate.groups[g]!;
    if (skipped || !all.includes(g)) skippedGroups++;
    // A group without advantages still counts in the mean, unless the algorithm leaves it out.
    if (!informative.has(g)) continue;
    for (const [s, { turns }] of samples.entries()) {
      // The reward comes after the last turn.
      let later = turns.reduce((sum, { tokens }) => sum + tokens.length, 0);
      for (const { prompt, tokens, logprobs } of turns) {
        later -= tokens.length;
        if (tokens.length === 0) continue;
        const advantage = advantages[s]! * plan.discount ** later;
        counted.push({ prompt, tokens, logprobs, advantages: rewardToGo(advantage, tokens.length, plan.discount) });
      }
    }
  }
  const lengths = counted.map(({ tokens }) => tokens.length);
  const weights = tokenWeights(plan.aggregation, lengths, plan.constantLength ?? maxTokens);
  const lessons = counted.map((lesson, i) => ({ ...lesson, weight: weights[i]! }));
  // A penalty has a gradient where there is no advantage.
  const kept = plan.hasPenalties
    ? lessons
    : lessons.filter(({ advantages }) => advantages.some((value) => value !== 0));
  return { kept, skippedGroups, memory: estimate.memory };
}

function knownSamples({ samples }: Group) {
  return samples.flatMap(({ turns, reward }) => (reward.status === 'ok' ? [{ turns, reward: reward.reward }] : []));
}
