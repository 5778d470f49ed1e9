/** @file KL(policy ‖ reference) estimated from the sampled tokens: Schulman, "Approximating KL Divergence", 2020. */
import type { GraphBuilder, Value } from '@quaver/ir';
import { multiply, subtract } from './objective/arithmetic.ts';

export type KlEstimator = 'k1' | 'k2' | 'k3';

export const klEstimators: readonly KlEstimator[] = ['k1', 'k2', 'k3'];

/**
 * With d = log π_ref − log π per token:
 * - k1 = −d: unbiased, of high variance; as a loss its gradient is zero on average, so it belongs into rewards;
 * - k2 = d²/2: biased, and as a loss it has the gradient of the KL divergence on samples of the policy;
 * - k3 = e^d − 1 − d: unbiased, never negative.
 */
export function klTerm(g: GraphBuilder, estimator: KlEstimator, d: Value): Value {
  if (estimator === 'k1') return g.op('negate', [d]);
  if (estimator === 'k2') return multiply(g, multiply(g, d, d), 0.5);
  return subtract(g, subtract(g, g.op('exp', [d]), 1), d);
}
