import { QuaverError } from './error.ts';

/** How far training log-probabilities are from those of generation; the field names are the ones reports use. */
export interface MismatchMetrics {
  /** N, the number of tokens under the mask. */
  readonly tokens: number;
  /** Σ exp(|g−p|) / N: 1 is perfect, above 1.05 is suspicious. */
  readonly token_mult_prob_error: number;
  /** mean(exp(p−g) − 1 − (p−g)), the k3 estimate of KL(generation ‖ training). */
  readonly gen_kl_error: number;
  /** mean(exp(g−p) − 1 − (g−p)). */
  readonly policy_kl_error: number;
  /** Jensen–Shannon divergence by k3 against the mixture M = log(½eᵖ + ½eᵍ). */
  readonly js_divergence_error: number;
  /** mean exp(p−g). */
  readonly sampling_importance_ratio: number;
  /** Tokens whose two log-probabilities are not equal. */
  readonly mismatched_tokens: number;
  readonly max_abs_logprob_diff: number;
}

/**
 * Mismatch metrics between generation log-probs g and training log-probs p of the same tokens under the same weights.
 * Sums are f64 and only tokens whose `mask` is nonzero count (all of them by default). A perfect run gives exactly
 * 1, 0, 0, 0, 1, 0, 0: there is no epsilon in any denominator.
 * @throws QuaverError `mismatch-length` when the arrays differ in length, `mismatch-no-tokens` when N = 0
 */
export function mismatchMetrics(
  generateLogprobs: ArrayLike<number>,
  trainLogprobs: ArrayLike<number>,
  mask?: ArrayLike<number | boolean>,
): MismatchMetrics {
  checkLength('training log-probs', generateLogprobs.length, trainLogprobs.length);
  if (mask !== undefined) checkLength('mask', generateLogprobs.length, mask.length);
  let tokens = 0;
  let multProb = 0;
  let genKl = 0;
  let policyKl = 0;
  let jsDivergence = 0;
  let ratio = 0;
  let mismatched = 0;
  let maxDiff = 0;
  for (let i = 0; i < generateLogprobs.length; i++) {
    if (mask !== undefined && !mask[i]) continue;
    const g = generateLogprobs[i]!;
    const p = trainLogprobs[i]!;
    // Two log-probs of −Inf are equal, while their difference is NaN.
    const difference = p === g ? 0 : p - g;
    tokens++;
    multProb += Math.exp(Math.abs(difference));
    genKl += k3(difference);
    policyKl += k3(-difference);
    jsDivergence += jensenShannon(p, g);
    ratio += Math.exp(difference);
    if (p !== g) mismatched++;
    maxDiff = Math.max(maxDiff, Math.abs(difference));
  }
  if (tokens === 0)
    throw new QuaverError('mismatch-no-tokens', 'mismatch metrics: expected at least one unmasked token, found none', {
      hint: 'Pass at least one generated token whose mask is 1.',
    });
  return {
    tokens,
    token_mult_prob_error: multProb / tokens,
    gen_kl_error: genKl / tokens,
    policy_kl_error: policyKl / tokens,
    js_divergence_error: jsDivergence / tokens,
    sampling_importance_ratio: ratio / tokens,
    mismatched_tokens: mismatched,
    max_abs_logprob_diff: maxDiff,
  };
}

/** e^d − 1 − d, through expm1 so that small differences keep their digits. */
function k3(d: number): number {
  return Math.expm1(d) - d;
}

function jensenShannon(p: number, g: number): number {
  if (p === g) return 0;
  const larger = Math.max(p, g);
  const mixture = larger + Math.log(0.5 * Math.exp(p - larger) + 0.5 * Math.exp(g - larger));
  return 0.5 * k3(p - mixture) + 0.5 * k3(g - mixture);
}

function checkLength(what: string, expected: number, found: number): void {
  if (expected !== found)
    throw new QuaverError(
      'mismatch-length',
      `mismatch metrics: expected ${expected} values of ${what}, found ${found}`,
      {
        hint: 'Both phases must score the same tokens.',
      },
    );
}
