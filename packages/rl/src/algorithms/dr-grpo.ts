/**
 * @file GRPO Done Right: Liu et al., Understanding R1-Zero-Like Training, 2025, arXiv:2503.20783, section 3.2.
 *
 *     A_i  = r_i − mean(r)
 *     loss = −1/G Σ_i 1/L Σ_t min(ρ A_i, clip(ρ, 1 − ε_low, 1 + ε_high) A_i)           L the same for all sequences
 *
 * Without the deviation and the length of each sequence, neither easy problems nor long wrong answers count more.
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

export const drGrpo: Algorithm = defineAlgorithm({
  name: 'dr-grpo',
  summary: 'GRPO Done Right (Liu et al., 2025): no standard deviation, one length for all sequences.',
  options: {
    ...clipOptions(0.2, 0.2),
    ...dualClipOption,
    ...groupOptions('mean', 'none'),
    ...lossOptions('constant'),
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
