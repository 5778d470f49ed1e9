/** @file How far training and generation are apart over a whole step, whose tokens come in many batches. */
import { type MismatchMetrics, mismatchMetrics, QuaverError } from '@quaver/numerics';
import { ExactSum } from './exact-sum.ts';

export type { MismatchMetrics };

const means = [
  'token_mult_prob_error',
  'gen_kl_error',
  'policy_kl_error',
  'js_divergence_error',
  'sampling_importance_ratio',
] as const;

/**
 * The metrics of `mismatchMetrics` over tokens that are added batch by batch. Sums are exact: any batches, in any
 * order, merged in any way, give the same bits. Tokens with equal log-probabilities give exactly 1 and 0.
 */
export class MismatchAccumulator {
  #tokens = 0;
  #mismatched = 0;
  #largest = 0;
  /** Over the tokens whose log-probabilities differ. */
  readonly #sums = means.map(() => new ExactSum());

  /** Tokens so far. */
  get tokens(): number {
    return this.#tokens;
  }

  /**
   * @param generation log-probabilities g of tokens when they were generated
   * @param train log-probabilities p of the same tokens under the same weights in training
   * @param mask tokens with 0 or false do not count; default all do
   * @throws QuaverError `mismatch-length`
   */
  add(generation: ArrayLike<number>, train: ArrayLike<number>, mask?: ArrayLike<number | boolean>): void {
    checkLength('training log-probs', generation.length, train.length);
    if (mask) checkLength('mask', generation.length, mask.length);
    for (let i = 0; i < generation.length; i++) {
      if (mask && !mask[i]) continue;
      this.#tokens++;
      if (generation[i] !== train[i]) this.#addMismatched(generation[i]!, train[i]!);
    }
  }

  merge(other: MismatchAccumulator): void {
    this.#tokens += other.#tokens;
    this.#mismatched += other.#mismatched;
    this.#largest = Math.max(this.#largest, other.#largest);
    this.#sums.forEach((sum, i) => {
      sum.merge(other.#sums[i]!);
    });
  }

  /** @throws QuaverError `mismatch-no-tokens` */
  metrics(): MismatchMetrics {
    const tokens = this.#tokens;
    if (tokens === 0) {
      throw new QuaverError(
        'mismatch-no-tokens',
        'mismatch metrics: expected at least one unmasked token, found none',
        {
          hint: 'Add at least one generated token whose mask is 1.',
        },
      );
    }
    const equal = mismatchMetrics([0], [0]);
    const mean = (name: (typeof means)[number]) => {
      const sum = new ExactSum();
      sum.merge(this.#sums[means.indexOf(name)]!);
      sum.add(equal[name] * (tokens - this.#mismatched));
      return sum.value / tokens;
    };
    return {
      tokens,
      token_mult_prob_error: mean('token_mult_prob_error'),
      gen_kl_error: mean('gen_kl_error'),
      policy_kl_error: mean('policy_kl_error'),
      js_divergence_error: mean('js_divergence_error'),
      sampling_importance_ratio: mean('sampling_importance_ratio'),
      mismatched_tokens: this.#mismatched,
      max_abs_logprob_diff: this.#largest,
    };
  }

  #addMismatched(generation: number, train: number): void {
    const token = mismatchMetrics([generation], [train]);
    this.#mismatched++;
    this.#largest = Math.max(this.#largest, token.max_abs_logprob_diff);
    this.#sums.forEach((sum, i) => {
      sum.add(token[means[i]!]);
    });
  }
}

function checkLength(what: string, expected: number, found: number): void {
  if (expected === found) return;
  throw new QuaverError('mismatch-length', `mismatch metrics: expected ${expected} values of ${what}, found ${found}`, {
    hint: 'Both phases must score the same tokens.',
  });
}
