import { type AdvantageEstimator, checkRewards, groupAdvantages, meanOf } from './estimator.ts';
import { areEqual } from './informative-groups.ts';

/** `leave-one-out`: the mean of the other samples, which does not depend on the sample itself. */
export type GroupBaseline = 'mean' | 'leave-one-out';

/** `sample` divides by n − 1, `population` by n; `none` leaves the differences as they are. */
export type GroupStd = 'sample' | 'population' | 'none';

export const groupBaselines: readonly GroupBaseline[] = ['mean', 'leave-one-out'];
export const groupStds: readonly GroupStd[] = ['sample', 'population', 'none'];

export interface GroupRelativeOptions {
  readonly baseline: GroupBaseline;
  /** Of the whole group, also where the baseline leaves one out. */
  readonly std: GroupStd;
  /** Is added to the standard deviation. */
  readonly eps: number;
}

/**
 * (reward − baseline) / (std + eps) within the samples of a problem. Where all rewards of a group are equal, all are 0.
 */
export function groupRelative(options: GroupRelativeOptions): AdvantageEstimator {
  return {
    leastSamples: 2,
    estimate(groups) {
      checkRewards(groups);
      return { groups: groups.map((rewards) => groupAdvantages(advantagesOf(rewards, options))) };
    },
  };
}

function advantagesOf(rewards: readonly number[], { baseline, std, eps }: GroupRelativeOptions): readonly number[] {
  // Not left to the arithmetic: without eps it would be 0 / 0.
  if (areEqual(rewards)) return rewards.map(() => 0);
  // Squares of very large or small rewards would overflow or vanish; a power of two changes no other bit.
  const unit = 2 ** Math.floor(Math.log2(rewards.reduce((largest, reward) => Math.max(largest, Math.abs(reward)), 0)));
  const scaled = rewards.map((reward) => reward / unit);
  const mean = meanOf(scaled);
  const n = rewards.length;
  // r − (n · mean − r) / (n − 1)
  const stretch = baseline === 'leave-one-out' ? n / (n - 1) : 1;
  const scale = std === 'none' ? 1 / unit : deviation(scaled, mean, std) + eps / unit;
  return scaled.map((reward) => ((reward - mean) * stretch) / scale);
}

function deviation(rewards: readonly number[], mean: number, std: 'sample' | 'population'): number {
  const squares = rewards.reduce((sum, reward) => sum + (reward - mean) ** 2, 0);
  return Math.sqrt(squares / (std === 'sample' ? rewards.length - 1 : rewards.length));
}
