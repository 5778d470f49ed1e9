/** @file The numbers of one step of reinforcement learning, beside those that every training step records. */
import type { StopReason } from '@quaver/generate';
import type { StepRecord } from '@quaver/train';
import type { MismatchMetrics } from '../mismatch/metrics.ts';
import type { Experience } from './experience.ts';

/** What a step's samples say without learning from them. */
export function rolloutNumbers(
  { groups, rounds, policyVersion, work, seconds }: Experience,
  skippedGroups: number,
  version: number,
): RolloutNumbers {
  const samples = groups.flatMap((group) => group.samples);
  const known = samples.flatMap(({ reward }) => (reward.status === 'ok' ? [reward] : []));
  const turns = samples.flatMap((sample) => sample.turns);
  const tokens = turns.reduce((sum, turn) => sum + turn.tokens.length, 0);
  const surprise = turns.reduce((sum, { logprobs }) => sum - logprobs.reduce((a, b) => a + b, 0), 0);
  const mean = (sum: number, count: number) => (count === 0 ? 0 : sum / count);
  return {
    reward: mean(
      known.reduce((sum, { reward }) => sum + reward, 0),
      known.length,
    ),
    accuracy: mean(known.filter(({ correct }) => correct).length, known.length),
    response_tokens: mean(tokens, samples.length),
    truncated: mean(turns.filter(({ stopReason }) => endless.includes(stopReason)).length, turns.length),
    reward_failures: samples.length - known.length,
    skipped_groups: skippedGroups,
    sampling_rounds: rounds,
    entropy: mean(surprise, tokens),
    rollout_tokens: tokens,
    rollout_tokens_per_s: tokens / seconds.rollout,
    rollout_gflop: work.flops / 1e9,
    rollout_gbyte: work.bytes / 1e9,
    policy_age: version - policyVersion,
  };
}

const endless: readonly StopReason[] = ['max_new_tokens', 'context'];

/** A line of `metrics.jsonl`. Numbers that a step does not have are left out: those of the loss where nothing was learned from. */
export interface RlRecord extends StepRecord, RolloutNumbers, LearningNumbers {
  /** Without evaluation and checkpoint. Where the next batch is generated meanwhile, phases add up to more. */
  readonly step_seconds: number;
  readonly heldout_accuracy?: number;
}

/** What the optimizer's steps say. */
export interface LearningNumbers extends Partial<MismatchNumbers> {
  readonly loss: number;
  /** The largest of the optimizer's steps. */
  readonly grad_norm: number;
  /** Learned from, prompts included. */
  readonly tokens: number;
  readonly tokens_per_s: number;
  readonly train_tokens_per_s: number;
  /** What training computed, and moved at least. */
  readonly train_gflop?: number;
  readonly train_gbyte?: number;
  /** Steps of the optimizer whose gradient was not finite. */
  readonly skipped?: number | undefined;
  readonly clip_fraction_low?: number;
  readonly clip_fraction_high?: number;
  readonly approx_kl?: number;
  readonly mean_ratio?: number;
  /** Sampled tokens whose log-probabilities of generation and of training were compared: all that were learned from. */
  readonly compared_tokens?: number;
  /** Mean weight that the correction gives a token. */
  readonly correction_weight?: number;
  /** Tokens that the correction truncated or dropped. */
  readonly corrected_tokens?: number;
}

/** What the samples of a step say. */
export interface RolloutNumbers {
  /** Mean over the samples whose reward is known. */
  readonly reward: number;
  /** Share of those that were right. */
  readonly accuracy: number;
  /** Sampled tokens of a response, mean. */
  readonly response_tokens: number;
  /** Share of the responses that did not end by themselves. */
  readonly truncated: number;
  readonly reward_failures: number;
  /** Groups that were not learned from, because their rewards were all equal or unknown. */
  readonly skipped_groups: number;
  /** How often prompts were sampled: more than once where groups were skipped and others took their place. */
  readonly sampling_rounds: number;
  /** Mean of -log p of the sampled tokens, in nats: an estimate of the entropy of the policy. */
  readonly entropy: number;
  readonly rollout_tokens: number;
  readonly rollout_tokens_per_s: number;
  /** What generation computed; and moved at least: weights, and what attention reads of the KV cache. */
  readonly rollout_gflop: number;
  readonly rollout_gbyte: number;
  /** Optimizer steps between the weights that generated and those that learned. */
  readonly policy_age: number;
}

/** The metrics of docs/numerics.md under the names that reports and JSON have. */
export type MismatchNumbers = Pick<
  MismatchMetrics,
  | 'token_mult_prob_error'
  | 'gen_kl_error'
  | 'policy_kl_error'
  | 'js_divergence_error'
  | 'sampling_importance_ratio'
  | 'mismatched_tokens'
  | 'max_abs_logprob_diff'
>;
