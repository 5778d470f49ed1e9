import type { GraphBuilder, Value } from '@quaver/ir';
import type { ObjectiveValues } from '@quaver/train';

/**
 * Inputs of the objectives, f32 [B,T] each:
 * - `advantages`: how much better a token's sequence was than expected;
 * - `correction`: what the policy term of the token is multiplied by, because another policy may have generated it; 1
 *   without one;
 * - `old_logprobs`: log-probabilities by the weights before the first step on this batch;
 * - `reference_logprobs`: by the reference policy.
 */
export type PolicyInput = 'advantages' | 'correction' | 'old_logprobs' | 'reference_logprobs';

/** What an algorithm makes smaller, per token. */
export interface PolicyTerm {
  readonly inputs: readonly PolicyInput[];
  /** f32 [B,T] */
  loss(g: GraphBuilder, values: ObjectiveValues): Value;
}
