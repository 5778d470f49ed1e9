/** @file The figures of runs of several recipes, side by side. */
import type { RlRecord } from '../loop/records.ts';

/** Which run it was. */
export interface ComparedRl {
  readonly recipe: string;
  readonly mode: 'unified' | 'split';
  readonly seed: number;
  /** Bytes that generation reads of the weights, for each parameter of the model. */
  readonly bytes_per_parameter: number;
}

/** A run in figures; mismatch metrics are means over all tokens that it learned from. */
export interface RlRow extends ComparedRl {
  /** Sampled. */
  readonly tokens: number;
  readonly token_mult_prob_error: number | null;
  readonly gen_kl_error: number | null;
  /** Sampled tokens that were learned from. */
  readonly compared_tokens: number;
  /** Of those, the ones whose log-probabilities in generation and in training differ. */
  readonly mismatched_tokens: number;
  /** After the last step. */
  readonly heldout_accuracy: number | null;
  /** Mean of the last fifth of the steps. */
  readonly reward: number;
  /** Median, without evaluations. */
  readonly step_seconds: number;
  readonly rollout_tokens_per_s: number;
  readonly train_tokens_per_s: number;
}

/** @param records at least one */
export function rlRow(run: ComparedRl, records: readonly RlRecord[]): RlRow {
  const learned = records.filter(({ token_mult_prob_error: error }) => error !== undefined);
  const total = (of: 'compared_tokens' | 'mismatched_tokens') =>
    learned.reduce((sum, record) => sum + (record[of] ?? 0), 0);
  const weight = total('compared_tokens');
  const mean = (of: 'token_mult_prob_error' | 'gen_kl_error') =>
    weight === 0 ? null : exactMean(learned.map((record) => [record[of]!, record.compared_tokens!]));
  const last = records.slice(-Math.ceil(records.length / 5));
  return {
    ...run,
    tokens: records.reduce((sum, record) => sum + record.rollout_tokens, 0),
    token_mult_prob_error: mean('token_mult_prob_error'),
    gen_kl_error: mean('gen_kl_error'),
    compared_tokens: total('compared_tokens'),
    mismatched_tokens: total('mismatched_tokens'),
    heldout_accuracy:
      records.findLast(({ heldout_accuracy: accuracy }) => accuracy !== undefined)?.heldout_accuracy ?? null,
    reward: last.reduce((sum, { reward }) => sum + reward, 0) / last.length,
    step_seconds: median(records.map((record) => record.step_seconds)),
    rollout_tokens_per_s: median(records.map((record) => record.rollout_tokens_per_s)),
    train_tokens_per_s: median(records.filter(({ tokens }) => tokens > 0).map((record) => record.train_tokens_per_s)),
  };
}

/** Of equal values it is that value: the mean of ones is 1, whatever the weights. */
function exactMean(weighted: readonly (readonly [value: number, weight: number])[]): number {
  const [first] = weighted[0]!;
  const weight = weighted.reduce((sum, [, each]) => sum + each, 0);
  return first + weighted.reduce((sum, [value, each]) => sum + (value - first) * each, 0) / weight;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  if (sorted.length === 0) return 0;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}
