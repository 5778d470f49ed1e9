import type { GraphBuilder, Value } from '@quaver/ir';
import type { ObjectiveValues } from '@quaver/train';
import { clamp, subtract, where } from './arithmetic.ts';

/** e^20 is 4.9e8: far outside of every clip range, while its products with advantages and losses are finite in f32. */
const largestLogRatio = 20;

/**
 * log a − log b per token, [B,T], clamped to ±20. It is 0 where a token has no weight: what stands in the padding
 * never becomes Inf · 0.
 */
export function logRatio(g: GraphBuilder, a: Value, b: Value, { weights }: Pick<ObjectiveValues, 'weights'>): Value {
  const counted = where(g, [weights, 'EQ', 0], 0, subtract(g, a, b));
  return clamp(g, counted, -largestLogRatio, largestLogRatio);
}
