import { QuaverError } from '@quaver/numerics';
import type { EvaluateConfig } from '../config/config-types.ts';
import type { RlProblem } from '../tasks/environment.ts';
import { converse } from './conversations.ts';
import { judge, type RolloutParts } from './rollout-phase.ts';

export interface Evaluation {
  /** Share of the answers that are right; those whose verifier failed do not count. */
  readonly accuracy: number;
  readonly problems: number;
  /** Answers whose verifier failed. */
  readonly failures: number;
}

/**
 * Answers problems as the configuration says.
 * @throws QuaverError `rl-evaluation-failed` when no answer could be judged, `aborted`, and what the engine throws
 */
export async function evaluatePolicy(
  parts: RolloutParts,
  problems: readonly RlProblem[],
  options: EvaluateConfig,
  signal?: AbortSignal,
): Promise<Evaluation> {
  const conversations = await converse(
    parts,
    problems,
    (problem, index) => parts.prompts.evaluated(problem, index, options),
    signal,
  );
  const judged = (await judge(parts, conversations, signal)).map(({ reward }) => reward);
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
