/** @file Generates a step's samples and has them judged. */
import type { RlProblem } from '../tasks/environment.ts';
import { type Conversation, type ConversationParts, converse } from './conversations.ts';
import type { Experience, Group, Sample } from './experience.ts';
import type { Prompts } from './prompts.ts';

export interface RolloutParts extends ConversationParts {
  readonly prompts: Prompts;
}

/**
 * Samples responses to problems and their rewards.
 * @param step which step of the run it is for: part of the key of every draw
 * @throws QuaverError `rl-prompt-too-long`, `aborted`, and what the engine throws
 */
export async function rollOut(
  parts: RolloutParts,
  problems: readonly RlProblem[],
  step: number,
  policyVersion: number,
  signal?: AbortSignal,
): Promise<Experience> {
  const start = performance.now();
  const request = (problem: RlProblem, index: number) => parts.prompts.sampled(problem, step, index);
  const conversations = await converse(parts, problems, request, signal);
  const middle = performance.now();
  const judged = await judge(parts, conversations, signal);
  const seconds = { rollout: (middle - start) / 1000, reward: (performance.now() - middle) / 1000 };
  const groups = problems.map((problem, index): Group => {
    return { problem, samples: judged.filter((sample) => sample.index === index) };
  });
  return { groups, policyVersion, seconds };
}

/** The rewards of conversations, in their order. */
export async function judge(
  { task }: Pick<RolloutParts, 'task'>,
  conversations: readonly Conversation[],
  signal?: AbortSignal,
): Promise<readonly (Sample & { readonly index: number })[]> {
  return Promise.all(
    conversations.map(async ({ problem, index, turns, response }) => {
      return { index, turns, reward: await task.verify(problem, response, signal ? { signal } : {}) };
    }),
  );
}
