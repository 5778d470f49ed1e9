/**
 * @file Clipped IS-weight Policy Optimization: MiniMax-M1, 2025, arXiv:2506.13585, equations 4 and 5.
 *
 *     loss = −1/Σ|o_i| Σ_i Σ_t sg[clip(ρ, 1 − ε_low, 1 + ε_high)] A_i log π(o_it)          sg: stop gradient
 *
 * No token loses its gradient; only what it counts is clipped. As in the paper there is no lower clip by default
 * (ε_low = 1). The paper does not say its ε_high; a largest weight of 5 is that of Khatri et al., ScaleRL, 2025,
 * arXiv:2510.13786.
 */
import { clamp, multiply } from '../objective/arithmetic.ts';
import type { Clip } from '../objective/clipped-surrogate.ts';
import { logRatio } from '../objective/log-ratio.ts';
import { policyObjective } from '../objective/policy-objective.ts';
import type { PolicyTerm } from '../objective/policy-term.ts';
import { type Algorithm, defineAlgorithm } from './algorithm.ts';
import {
  aggregationOf,
  clipOf,
  clipOptions,
  groupAdvantageOf,
  groupOptions,
  lossOptions,
  penalties,
  updateOptions,
  updatesOf,
} from './options.ts';

export const cispo: Algorithm = defineAlgorithm({
  name: 'cispo',
  summary:
    'CISPO (MiniMax-M1, 2025): the importance weight is clipped and constant, the log-probability keeps its gradient.',
  options: {
    ...clipOptions(1, 4),
    ...groupOptions('mean', 'sample'),
    ...lossOptions('token-mean'),
    ...updateOptions(1),
  },
  build: (options) => ({
    objective: policyObjective(clippedWeightTerm(clipOf(options)), penalties(options)),
    advantage: groupAdvantageOf(options),
    ...aggregationOf(options),
    ...updatesOf(options),
    clip: { ratio: 'token', low: options.clip_low, high: options.clip_high, bySign: false },
  }),
});

function clippedWeightTerm({ low, high }: Clip): PolicyTerm {
  return {
    inputs: ['advantages', 'old_logprobs'],
    loss(g, values) {
      const { logprobs, inputs } = values;
      const ratio = g.op('exp', [logRatio(g, logprobs, inputs.old_logprobs!, values)]);
      const weight = g.op('stop_gradient', [clamp(g, ratio, 1 - low, 1 + high)]);
      return g.op('negate', [multiply(g, multiply(g, weight, inputs.advantages!), logprobs)]);
    },
  };
}
