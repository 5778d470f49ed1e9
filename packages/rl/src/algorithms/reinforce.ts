/**
 * @file REINFORCE with a baseline: Williams, Simple statistical gradient-following algorithms, Machine Learning 8,
 * 1992.
 *
 *     A_i  = r_i − b
 *     loss = −1/N Σ_i A_i log π(y_i)                                             log π(y) = Σ_t log π(y_t)
 *
 * b is the mean reward of the batch, or the moving average of the batches before.
 */
import { z } from 'zod';
import { batchBaseline } from '../advantages/batch-baseline.ts';
import { policyObjective } from '../objective/policy-objective.ts';
import { policyGradientTerm } from '../objective/policy-terms.ts';
import { type Algorithm, defineAlgorithm } from './algorithm.ts';
import { aggregationOf, lossOptions, penalties } from './options.ts';

export const reinforce: Algorithm = defineAlgorithm({
  name: 'reinforce',
  summary: 'REINFORCE (Williams, 1992) with the mean or the moving average of rewards as the baseline.',
  options: {
    baseline: z.enum(['mean', 'ema']).default('mean'),
    ema_decay: z.number().min(0).lt(1).default(0.9),
    ...lossOptions('sequence-sum'),
  },
  build: (options) => ({
    objective: policyObjective(policyGradientTerm, penalties(options)),
    advantage: batchBaseline(options.baseline === 'mean' ? 'mean' : { decay: options.ema_decay }),
    ...aggregationOf(options),
  }),
});
