import { type AdvantageEstimator, checkRewards, groupAdvantages, meanOf } from './estimator.ts';

/**
 * reward − baseline with one baseline for the whole batch.
 * - `mean`: the mean reward of the batch;
 * - a number: the exponential moving average of the mean rewards of the batches before, with that decay. Since it
 *   does not depend on the batch, it adds no bias. The first batch has its own mean.
 */
export function batchBaseline(kind: 'mean' | { readonly decay: number }): AdvantageEstimator {
  return {
    leastSamples: 1,
    estimate(groups, memory) {
      checkRewards(groups);
      const rewards = groups.flat();
      if (rewards.length === 0)
        return { groups: groups.map(() => groupAdvantages([])), ...(memory === undefined ? {} : { memory }) };
      const mean = meanOf(rewards);
      const baseline = kind === 'mean' ? mean : (memory ?? mean);
      const centred = groups.map((group) => groupAdvantages(group.map((reward) => reward - baseline)));
      if (kind === 'mean') return { groups: centred };
      const next = memory === undefined ? mean : kind.decay * memory + (1 - kind.decay) * mean;
      return { groups: centred, memory: next };
    },
  };
}
