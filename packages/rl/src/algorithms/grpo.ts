/**
 * @file Group Relative Policy Optimization: Shao et al., DeepSeekMath, 2024, arXiv:2402.03300, section 4.1.
 *
 *     A_i  = (r_i − mean(r)) / std(r)                                       over the G samples of a prompt
 *     loss = −1/G Σ_i 1/|o_i| Σ_t [min(ρ A_i, clip(ρ, 1 − ε_low, 1 + ε_high) A_i) − β k3]    ρ = π / π_old
 *
 * β is 0 unless it is chosen. The clip may be asymmetric and dual, and steps may be repeated on a batch.
 */
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

export const grpo: Algorithm = defineAlgorithm({
  name: 'grpo',
  summary: 'Group Relative Policy Optimization (Shao et al., 2024): clipped ratios, advantages within groups.',
  options: {
    ...clipOptions(0.2, 0.2),
    ...dualClipOption,
    ...groupOptions('mean', 'sample'),
    ...lossOptions('sequence-mean'),
    ...updateOptions(1),
  },
  build: (options) => ({
    objective: policyObjective(clippedTokenTerm(clipOf(options)), penalties(options)),
    advantage: groupAdvantageOf(options),
    ...aggregationOf(options),
    ...updatesOf(options),
    clip: { ratio: 'token', low: options.clip_low, high: options.clip_high, bySign: true },
  }),
});
