/**
 * @file REINFORCE Leave-One-Out: Ahmadian et al., Back to Basics, 2024, arXiv:2402.14740, section 2; Kool et al., 2019.
 *
 *     A_i  = r_i − 1/(G − 1) Σ_{j ≠ i} r_j
 *     loss = −1/G Σ_i A_i log π(y_i)                                             log π(y) = Σ_t log π(y_t)
 */
import { policyObjective } from '../objective/policy-objective.ts';
import { policyGradientTerm } from '../objective/policy-terms.ts';
import { type Algorithm, defineAlgorithm } from './algorithm.ts';
import { aggregationOf, groupAdvantageOf, groupOptions, lossOptions, penalties } from './options.ts';

export const rloo: Algorithm = defineAlgorithm({
  name: 'rloo',
  summary: 'REINFORCE Leave-One-Out (Ahmadian et al., 2024): the baseline is the mean of the other samples.',
  options: { ...groupOptions('leave-one-out', 'none'), ...lossOptions('sequence-sum') },
  build: (options) => ({
    objective: policyObjective(policyGradientTerm, penalties(options)),
    advantage: groupAdvantageOf(options),
    ...aggregationOf(options),
  }),
});
