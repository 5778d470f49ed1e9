/**
 * @file Group Sequence Policy Optimization: Zheng et al., 2025, arXiv:2507.18071, equations 5 to 7, in the form of
 * its GSPO-token (equation 13).
 *
 *     s_i  = (π(y_i) / π_old(y_i))^(1/|y_i|)
 *     s_it = sg[s_i] · π(y_it) / sg[π(y_it)]                                     sg: stop gradient; its value is s_i
 *     loss = −1/G Σ_i 1/|y_i| Σ_t min(s_it A_i, clip(s_it, 1 − ε_low, 1 + ε_high) A_i)
 *
 * One row of the batch is one sequence. With one advantage for all tokens of a sequence, value and gradient are those
 * of GSPO.
 */
import type { GraphBuilder, Value } from '@quaver/ir';
import { divide, maximum, multiply, subtract, where } from '../objective/arithmetic.ts';
import { type Clip, clippedSurrogate } from '../objective/clipped-surrogate.ts';
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

export const gspo: Algorithm = defineAlgorithm({
  name: 'gspo',
  summary:
    'Group Sequence Policy Optimization (Zheng et al., 2025): one length-normalized ratio per sequence, clipped.',
  options: {
    ...clipOptions(3e-4, 4e-4),
    ...groupOptions('mean', 'sample'),
    ...lossOptions('sequence-mean'),
    ...updateOptions(1),
  },
  build: (options) => ({
    objective: policyObjective(sequenceRatioTerm(clipOf(options)), penalties(options)),
    advantage: groupAdvantageOf(options),
    ...aggregationOf(options),
    ...updatesOf(options),
    clip: { ratio: 'sequence', low: options.clip_low, high: options.clip_high, bySign: true },
  }),
});

function sequenceRatioTerm(clip: Clip): PolicyTerm {
  return {
    inputs: ['advantages', 'old_logprobs'],
    loss(g, values) {
      const { logprobs, weights, inputs } = values;
      const perToken = logRatio(g, logprobs, inputs.old_logprobs!, values);
      const sequence = g.op('stop_gradient', [g.op('exp', [sequenceMean(g, perToken, weights)])]);
      const one = g.op('exp', [subtract(g, logprobs, g.op('stop_gradient', [logprobs]))]);
      return clippedSurrogate(g, multiply(g, sequence, one), inputs.advantages!, clip);
    },
  };
}

/** The mean over the tokens of each row that have a weight, in the shape of `x`, which is 0 at the others. */
function sequenceMean(g: GraphBuilder, x: Value, weights: Value): Value {
  const sum = (value: Value) => g.op('reduce', [value], { kind: 'sum', axes: [1], keep: true });
  // A row without any has the mean 0.
  const tokens = maximum(g, sum(where(g, [weights, 'EQ', 0], 0, 1)), 1);
  return g.op('broadcast_in_dim', [divide(g, sum(x), tokens)], { shape: x.type.shape, dims: [0, 1] });
}
