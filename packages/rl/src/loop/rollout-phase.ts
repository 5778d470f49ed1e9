/** @file Generates a step's samples and has them judged. */

import type { RolloutMetrics } from '@quaver/generate';
import { QuaverError } from '@quaver/numerics';
import { informativeGroups } from '../advantages/informative-groups.ts';
import type { WorkMeter } from '../roofline/work.ts';
import type { Reward, RlProblem } from '../tasks/environment.ts';
import { type Conversation, type ConversationParts, converse } from './conversations.ts';
import type { Experience, Group, Sample } from './experience.ts';
import type { Prompts } from './prompts.ts';

export interface RolloutParts extends ConversationParts {
  readonly prompts: Prompts;
  readonly meter: WorkMeter;
}

/** The problems of a step, and of how many rounds of them at most. */
export interface StepProblems {
  /** Which step of the run it is: part of the key of every draw. */
  readonly step: number;
  readonly rounds: number;
  problemsOf(round: number): Promise<readonly RlProblem[]>;
}

/**
 * Samples responses to problems and their rewards; more problems, as long as there are rounds left and fewer groups that differ
 * in their rewards than problems in a round.
 * @throws QuaverError `rl-prompt-too-long`, `aborted`, and what the engine throws
 */
export async function rollOut(
  parts: RolloutParts,
  { step, rounds: most, problemsOf }: StepProblems,
  policyVersion: number,
): Promise<Experience> {
  const groups: Group[] = [];
  const seconds = { rollout: 0, reward: 0 };
  const calls: RolloutMetrics[] = [];
  const told = { ...parts, onGenerated: (metrics: RolloutMetrics) => calls.push(metrics) };
  let rounds = 0;
  for (let wanted = 1; rounds < most && wanted > 0; rounds++) {
    const problems = await problemsOf(rounds);
    const start = performance.now();
    const first = groups.length;
    const request = (problem: RlProblem, index: number) => parts.prompts.sampled(problem, index, [step, first + index]);
    const conversations = await converse(told, problems, request);
    const middle = performance.now();
    const judged = await judge(parts, conversations);
    seconds.rollout += (middle - start) / 1000;
    seconds.reward += (performance.now() - middle) / 1000;
    for (const [index, problem] of problems.entries()) {
      groups.push({ problem, samples: judged.filter((sample) => sample.index === index) });
    }
    assertJudged(judged.map(({ reward }) => reward));
    wanted = problems.length - informativeGroups(groups.map(rewardsOf)).kept.length;
  }
  const turns = groups.flatMap(({ samples }) => samples.flatMap((sample) => sample.turns));
  return { groups, rounds, policyVersion, work: parts.meter.rollouts(turns, calls), seconds };
}

/** Where no answer at all could be judged, the verifier is at fault, and nothing can be learned. */
function assertJudged(rewards: readonly Reward[]): void {
  const failed = rewards.find((reward) => reward.status === 'failed');
  if (!failed || rewards.some(({ status }) => status === 'ok')) return;
  throw new QuaverError('rl-rewards-failed', `none of ${rewards.length} answers could be judged: ${failed.reason}`, {
    hint: `The verifier of the task said: ${failed.message}`,
  });
}

/** Rewards that are known. */
function rewardsOf({ samples }: Group): number[] {
  return samples.flatMap(({ reward }) => (reward.status === 'ok' ? [reward.reward] : []));
}

/** The rewards of conversations, in their order. */
export async function judge(
  { task }: Pick<RolloutParts, 'task'>,
  conversations: readonly Conversation[],
  signal?: AbortSignal,
): Promise<readonly (Sample & { readonly index: number })[]> {
  return Promise.all(
    conversations.map(async ({ problem, index, turns, response, failure }) => {
      return { index, turns, reward: failure ?? (await task.verify(problem, response, signal ? { signal } : {})) };
    }),
  );
}
