import type { GraphBuilder, Value } from '@quaver/ir';
import { checkOption } from './optimizer.ts';
import { spread, sumOfSquares, times } from './steps.ts';

/** √Σ g² over all elements of all gradients, f32[]: Infinity or NaN where one of them is not finite. */
export function globalNorm(g: GraphBuilder, gradients: readonly Value[]): Value {
  const squares = gradients.map((gradient) => sumOfSquares(g, gradient));
  return g.op('sqrt', [squares.reduce((sum, square) => g.op('add', [sum, square]), g.constant(0))]);
}

/**
 * Gradients scaled so that their global norm is at most `largest`: g / max(1, norm / largest).
 * @throws QuaverError `optimizer-option`
 */
export function clipByGlobalNorm(
  g: GraphBuilder,
  gradients: readonly Value[],
  norm: Value,
  largest: number,
): readonly Value[] {
  checkOption('clip', 'the largest norm', largest, largest > 0 && Number.isFinite(largest), 'a finite number above 0');
  const factor = g.op('maximum', [times(g, norm, 1 / largest), g.constant(1)]);
  return gradients.map((gradient) => g.op('divide', [gradient, spread(g, factor, gradient)]));
}

/** `moved` where the norm is finite, else `kept`: a step on a broken gradient changes nothing. */
export function keepUnlessFinite(g: GraphBuilder, norm: Value, moved: Value, kept: Value): Value {
  const finite = g.op('compare', [norm, g.constant(Number.POSITIVE_INFINITY)], { direction: 'LT' });
  const everywhere = g.op('broadcast_in_dim', [finite], { shape: moved.type.shape, dims: [] });
  return g.op('select', [everywhere, moved, kept]);
}
