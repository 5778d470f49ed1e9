/**
 * @file The loss that all algorithms share: a policy term, a penalty for leaving the reference, and a bonus for
 * entropy.
 */
import type { Objective } from '@quaver/train';
import { sumOverTokens } from '@quaver/train';
import { entropy } from '../entropy.ts';
import { type KlEstimator, klTerm } from '../kl.ts';
import { add, multiply, subtract } from './arithmetic.ts';
import { logRatio } from './log-ratio.ts';
import type { PolicyInput, PolicyTerm } from './policy-term.ts';

export interface Penalties {
  /** β; 0 leaves the term and its input out. */
  readonly klCoefficient: number;
  readonly klEstimator: KlEstimator;
  /** 0 leaves the bonus out. */
  readonly entropyCoefficient: number;
}

/** Σ weight · (correction · policy term + β · KL − c · entropy), over the tokens. */
export function policyObjective(term: PolicyTerm, penalties: Penalties): Objective {
  const { klCoefficient, klEstimator, entropyCoefficient } = penalties;
  const reference: PolicyInput[] = klCoefficient === 0 ? [] : ['reference_logprobs'];
  return {
    inputs: [...term.inputs, 'correction', ...reference],
    loss(g, values) {
      const { logprobs, logits, weights, inputs } = values;
      let perToken = multiply(g, term.loss(g, values), inputs.correction!);
      if (klCoefficient !== 0) {
        const kl = klTerm(g, klEstimator, logRatio(g, inputs.reference_logprobs!, logprobs, values));
        perToken = add(g, perToken, multiply(g, kl, klCoefficient));
      }
      if (entropyCoefficient !== 0) {
        perToken = subtract(g, perToken, multiply(g, entropy(g, logits), entropyCoefficient));
      }
      return sumOverTokens(g, multiply(g, perToken, weights));
    },
  };
}
