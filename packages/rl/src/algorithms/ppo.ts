/**
 * @file The clipped objective of Proximal Policy Optimization: Schulman et al., 2017, arXiv:1707.06347, equation 7,
 * with several epochs on each batch.
 *
 *     A_t  = γ^(T−1−t) · (r − baseline of the group)                              reward-to-go of a reward at the end
 *     loss = −mean over tokens of min(ρ A_t, clip(ρ, 1 − ε_low, 1 + ε_high) A_t)
 *
 * There is no critic: where the paper has a learned value function and generalized advantage estimation, this has the
 * reward-to-go less the mean of the other samples of the prompt.
 */
import { z } from 'zod';
import { policyObjective } from '../objective/policy-objective.ts';
import { clippedTokenTerm } from '../objective/policy-terms.ts';
import { type Algorithm, defineAlgorithm } from './algorithm.ts';
import {
  aggregationOf,
  clipOf,
  clipOptions,
  dualClipOption,
  groupAdvantageOf,
  groupOptions,
  lossOptions,
  penalties,
  updateOptions,
  updatesOf,
} from './options.ts';

export const ppo: Algorithm = defineAlgorithm({
  name: 'ppo',
  summary:
    'The clipped objective of PPO (Schulman et al., 2017), several epochs a batch, a group baseline and no critic.',
  options: {
    ...clipOptions(0.2, 0.2),
    ...dualClipOption,
    ...groupOptions('leave-one-out', 'none'),
    discount: z.number().gt(0).max(1).default(1),
    ...lossOptions('token-mean'),
    ...updateOptions(4),
  },
  build: (options) => ({
    objective: policyObjective(clippedTokenTerm(clipOf(options)), penalties(options)),
    advantage: groupAdvantageOf(options),
    discount: options.discount,
    ...aggregationOf(options),
    ...updatesOf(options),
    clip: { ratio: 'token', low: options.clip_low, high: options.clip_high, bySign: true },
  }),
});
