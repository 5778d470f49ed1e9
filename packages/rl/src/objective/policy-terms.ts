/** @file Policy terms that several algorithms have. */
import { multiply } from './arithmetic.ts';
import { type Clip, clippedSurrogate } from './clipped-surrogate.ts';
import { logRatio } from './log-ratio.ts';
import type { PolicyTerm } from './policy-term.ts';

/** −A · log π, the policy gradient itself: for samples of the weights that are trained. */
export const policyGradientTerm: PolicyTerm = {
  inputs: ['advantages'],
  loss: (g, { logprobs, inputs }) => g.op('negate', [multiply(g, inputs.advantages!, logprobs)]),
};

/**
 * The clipped surrogate of the ratio π / π_old of each token: Schulman et al., PPO, 2017, arXiv:1707.06347, equation 7.
 */
export function clippedTokenTerm(clip: Clip): PolicyTerm {
  return {
    inputs: ['advantages', 'old_logprobs'],
    loss(g, values) {
      const ratio = g.op('exp', [logRatio(g, values.logprobs, values.inputs.old_logprobs!, values)]);
      return clippedSurrogate(g, ratio, values.inputs.advantages!, clip);
    },
  };
}
