import { type CorrectionRule, logRatios } from './correction.ts';

/** Log-probabilities of the sampled tokens of a sequence, at least one. */
export interface SequenceLogprobs {
  readonly train: ArrayLike<number>;
  readonly generation: ArrayLike<number>;
}

export interface CorrectionStatistics {
  readonly tokens: number;
  /** Mean weight of a token. */
  readonly weight: number;
  /** Tokens whose weight is below their ratio, but not 0. */
  readonly truncated_tokens: number;
  /** Tokens whose weight is 0. */
  readonly dropped_tokens: number;
  /** Sequences whose weights are all 0. */
  readonly dropped_sequences: number;
}

/**
 * The correction of every token of a batch, and how much of the batch it changed.
 * @throws QuaverError `mismatch-length`, `rl-logprob-not-finite`
 */
export function correctSequences(
  rule: CorrectionRule,
  sequences: readonly SequenceLogprobs[],
): { readonly weights: readonly Float32Array[]; readonly statistics: CorrectionStatistics } {
  const corrected = sequences.map(({ train, generation }) => rule(logRatios(train, generation)));
  const weights = corrected.map((item) => item.weights);
  const tokens = weights.reduce((sum, { length }) => sum + length, 0);
  const total = weights.reduce((sum, values) => sum + values.reduce((part, value) => part + value, 0), 0);
  const zeros = weights.map((values) => values.filter((value) => value === 0).length);
  return {
    weights,
    statistics: {
      tokens,
      weight: tokens === 0 ? 1 : total / tokens,
      truncated_tokens: corrected.reduce((sum, { truncated }) => sum + truncated, 0),
      dropped_tokens: zeros.reduce((sum, count) => sum + count, 0),
      dropped_sequences: weights.filter(({ length }, i) => zeros[i] === length).length,
    },
  };
}
