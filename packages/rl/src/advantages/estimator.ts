/** @file What an algorithm makes of the rewards of a step. */
import { QuaverError } from '@quaver/numerics';

/** The samples of one problem. */
export interface GroupAdvantages {
  readonly advantages: readonly number[];
  /** All advantages are 0: there is nothing to learn from this group. */
  readonly skipped: boolean;
}

export interface AdvantageEstimate {
  readonly groups: readonly GroupAdvantages[];
  /** For the estimate of the next step; a run keeps it in its checkpoints. */
  readonly memory?: number;
}

export interface AdvantageEstimator {
  /** Samples of a problem below which there is nothing to learn. */
  readonly leastSamples: 1 | 2;
  /**
   * Never NaN.
   * @param groups the rewards of the samples of each problem
   * @param memory what the estimate of the step before gave
   * @throws QuaverError `rl-reward-not-finite`
   */
  estimate(groups: readonly (readonly number[])[], memory?: number): AdvantageEstimate;
}

export function groupAdvantages(advantages: readonly number[]): GroupAdvantages {
  return { advantages, skipped: advantages.every((advantage) => advantage === 0) };
}

/** @throws QuaverError `rl-reward-not-finite` */
export function checkRewards(groups: readonly (readonly number[])[]): void {
  for (const [group, rewards] of groups.entries()) {
    const sample = rewards.findIndex((reward) => !Number.isFinite(reward));
    if (sample < 0) continue;
    throw new QuaverError(
      'rl-reward-not-finite',
      `the reward of sample ${sample} of group ${group} is ${rewards[sample]}`,
      {
        hint: 'A reward is a finite number. Leave samples out whose reward is unknown.',
        where: { group, sample },
      },
    );
  }
}

/** Exactly the value where all values are equal. */
export function meanOf(values: readonly number[]): number {
  const first = values[0]!;
  return first + values.reduce((sum, value) => sum + (value - first), 0) / values.length;
}
