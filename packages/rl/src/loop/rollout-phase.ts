/** @file Generates a step's samples and has them judged. */
import type { RolloutEngine, RolloutOutcome, RolloutResult, Tokenizer } from '@quaver/generate';
import type { RewardPool, RlProblem } from '../tasks/environment.ts';
import type { Experience, Group, Sample } from './experience.ts';
import type { Prompts } from './prompts.ts';

export interface RolloutParts {
  readonly engine: RolloutEngine;
  readonly rewards: RewardPool;
  readonly prompts: Prompts;
  readonly tokenizer: Tokenizer;
}

/**
 * Samples responses to problems and their rewards.
 * @param step which step of the run it is for: part of the key of every draw
 * @throws QuaverError `rl-prompt-too-long`, `aborted`, and what the engine throws
 */
export async function rollOut(
  { engine, rewards, prompts, tokenizer }: RolloutParts,
  problems: readonly RlProblem[],
  step: number,
  policyVersion: number,
  signal?: AbortSignal,
): Promise<Experience> {
  const options = signal ? { signal } : {};
  const start = performance.now();
  const requests = problems.map((problem, index) => prompts.sampled(problem, step, index));
  const results = completed(await engine.generate(requests, options));
  const middle = performance.now();
  const samples = await Promise.all(results.map((result) => judge(result)));
  const end = performance.now();

  async function judge(rollout: RolloutResult): Promise<Sample> {
    const problem = problems[Number(rollout.id)]!;
    const text = tokenizer.decode(rollout.tokens);
    const reward = await rewards.verify(
      problem,
      { text, tokens: rollout.tokens, stopReason: rollout.stopReason },
      options,
    );
    return { rollout, reward };
  }

  const groups = problems.map((problem, index): Group => {
    return { problem, samples: samples.filter(({ rollout }) => rollout.id === index) };
  });
  return { groups, policyVersion, seconds: { rollout: (middle - start) / 1000, reward: (end - middle) / 1000 } };
}

/** @throws QuaverError of the first request that could not be met */
export function completed(outcomes: readonly RolloutOutcome[]): RolloutResult[] {
  return outcomes.map((outcome) => {
    if (outcome.error) throw outcome.error;
    return outcome;
  });
}
