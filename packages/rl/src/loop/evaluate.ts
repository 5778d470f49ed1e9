import { QuaverError } from '@quaver/numerics';
import type { RlProblem } from '../tasks/environment.ts';
import { completed, type RolloutParts } from './rollout-phase.ts';

export interface Evaluation {
  /** Share of the problems whose greedy answer is right; those whose verifier failed do not count. */
  readonly accuracy: number;
  readonly problems: number;
  /** Problems whose verifier failed. */
  readonly failures: number;
}

/**
 * Answers problems greedily.
 * @throws QuaverError `rl-evaluation-failed` when no answer could be judged, `aborted`, and what the engine throws
 */
export async function evaluatePolicy(
  { engine, rewards, prompts, tokenizer }: RolloutParts,
  problems: readonly RlProblem[],
  signal?: AbortSignal,
): Promise<Evaluation> {
  const options = signal ? { signal } : {};
  const requests = problems.map((problem, index) => prompts.greedy(problem, index));
  const results = completed(await engine.generate(requests, options));
  const judged = await Promise.all(
    results.map(({ id, tokens, stopReason }) =>
      rewards.verify(problems[Number(id)]!, { text: tokenizer.decode(tokens), tokens, stopReason }, options),
    ),
  );
  const known = judged.filter((reward) => reward.status === 'ok');
  const failed = judged.find((reward) => reward.status === 'failed');
  if (known.length === 0 && failed) {
    throw new QuaverError('rl-evaluation-failed', `no held-out answer could be judged: ${failed.reason}`, {
      hint: `The verifier of the task said: ${failed.message}`,
    });
  }
  const right = known.filter(({ correct }) => correct).length;
  return { accuracy: right / known.length, problems: problems.length, failures: judged.length - known.length };
}
