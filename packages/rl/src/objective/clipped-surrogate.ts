import type { GraphBuilder, Value } from '@quaver/ir';
import { clamp, maximum, minimum, multiply, where } from './arithmetic.ts';

export interface Clip {
  /** The ratio counts down to 1 − low. */
  readonly low: number;
  /** The ratio counts up to 1 + high. */
  readonly high: number;
  /** Dual clip (Ye et al., 2020, arXiv:1912.09729): for negative advantages the ratio counts up to this. */
  readonly dual?: number | undefined;
}

/** −min(ratio · A, clip(ratio, 1 − low, 1 + high) · A); for A < 0 the minimum is at least dual · A. */
export function clippedSurrogate(g: GraphBuilder, ratio: Value, advantages: Value, { low, high, dual }: Clip): Value {
  const clipped = clamp(g, ratio, 1 - low, 1 + high);
  const gain = minimum(g, multiply(g, ratio, advantages), multiply(g, clipped, advantages));
  if (dual === undefined) return g.op('negate', [gain]);
  const bounded = maximum(g, gain, multiply(g, advantages, dual));
  return g.op('negate', [where(g, [advantages, 'LT', 0], bounded, gain)]);
}
