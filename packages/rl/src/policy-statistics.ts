/**
 * @file How far the steps on a batch moved the policy, for records; from log-probabilities that a step gives anyway.
 */
import { QuaverError } from '@quaver/numerics';

/** What an objective clips. */
export interface RatioClip {
  /** `sequence`: the geometric mean of the ratios of a sequence. */
  readonly ratio: 'token' | 'sequence';
  /** Below 1 − low it is clipped. */
  readonly low: number;
  /** Above 1 + high it is clipped. */
  readonly high: number;
  /** Only where the advantage says so: low for negative advantages, high for positive ones. */
  readonly bySign: boolean;
}

export interface PolicyStatistics {
  readonly tokens: number;
  /** Shares of the tokens that are clipped; 0 where the objective clips nothing. */
  readonly clip_fraction_low: number;
  readonly clip_fraction_high: number;
  /** KL(old ‖ new) by k3: mean(ρ − 1 − log ρ) with the ratio ρ = new / old of each token. */
  readonly approx_kl: number;
  /** Mean of the ratio that the objective clips; of tokens where it clips nothing. */
  readonly mean_ratio: number;
  /** mean(−log p) of the sampled tokens, in nats: the entropy as far as samples tell. */
  readonly entropy: number;
}

/** Adds up sequences, whatever micro-batches they came in. */
export class PolicyStatisticsSum {
  readonly #clip: RatioClip | undefined;
  #tokens = 0;
  #low = 0;
  #high = 0;
  #kl = 0;
  #ratio = 0;
  #surprise = 0;

  constructor(clip?: RatioClip) {
    this.#clip = clip;
  }

  /**
   * The sampled tokens of one sequence.
   * @param logprobs by the weights of now
   * @param oldLogprobs by the weights before the first step on the batch
   * @throws QuaverError `mismatch-length`
   */
  add(logprobs: ArrayLike<number>, oldLogprobs: ArrayLike<number>, advantages: ArrayLike<number>): void {
    const { length } = logprobs;
    if (oldLogprobs.length !== length || advantages.length !== length) {
      throw new QuaverError(
        'mismatch-length',
        `policy statistics: ${length} log-probs, ${oldLogprobs.length} old ones, ${advantages.length} advantages`,
        { hint: 'Give one of each for every sampled token.' },
      );
    }
    const logRatios = Float64Array.from({ length }, (_, t) => logprobs[t]! - oldLogprobs[t]!);
    const ofSequence = Math.exp(logRatios.reduce((sum, d) => sum + d, 0) / length);
    for (let t = 0; t < length; t++) {
      const d = logRatios[t]!;
      const ratio = this.#clip?.ratio === 'sequence' ? ofSequence : Math.exp(d);
      this.#tokens++;
      this.#kl += Math.expm1(d) - d;
      this.#ratio += ratio;
      this.#surprise -= logprobs[t]!;
      if (this.#clip) this.#count(this.#clip, ratio, advantages[t]!);
    }
  }

  /** undefined before any token was added */
  result(): PolicyStatistics | undefined {
    const tokens = this.#tokens;
    if (tokens === 0) return undefined;
    return {
      tokens,
      clip_fraction_low: this.#low / tokens,
      clip_fraction_high: this.#high / tokens,
      approx_kl: this.#kl / tokens,
      mean_ratio: this.#ratio / tokens,
      entropy: this.#surprise / tokens,
    };
  }

  #count({ low, high, bySign }: RatioClip, ratio: number, advantage: number): void {
    if (ratio < 1 - low && (!bySign || advantage < 0)) this.#low++;
    if (ratio > 1 + high && (!bySign || advantage > 0)) this.#high++;
  }
}
