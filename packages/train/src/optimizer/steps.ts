/** @file Steps that optimizers have in common; everything is f32. */
import { type GraphBuilder, multiplyDims, type Value } from '@quaver/ir';

export function times(g: GraphBuilder, x: Value, factor: number): Value {
  return g.op('multiply', [x, g.constant(factor, 'f32', x.type.shape)]);
}

/** A number, f32[1] or f32[], in the shape of `like`. */
export function spread(g: GraphBuilder, x: Value, like: Value): Value {
  const scalar = g.op('reshape', [x], { shape: [] });
  return g.op('broadcast_in_dim', [scalar], { shape: like.type.shape, dims: [] });
}

/** The sum of all elements, f32[]: row by row in the canonical order, then over the rows. */
function sumOf(g: GraphBuilder, x: Value): Value {
  const rank = x.type.shape.length;
  const rows = rank === 0 ? g.op('reshape', [x], { shape: [1] }) : x;
  const sums = rank < 2 ? rows : g.op('reduce', [rows], { kind: 'sum', axes: [rank - 1] });
  const flat = g.op('reshape', [sums], { shape: [multiplyDims(...sums.type.shape)] });
  return g.op('reduce', [flat], { kind: 'sum', axes: [0] });
}

export function sumOfSquares(g: GraphBuilder, x: Value): Value {
  return sumOf(g, g.op('multiply', [x, x]));
}

/** decay * average + (1 - decay) * x */
export function movingAverage(g: GraphBuilder, average: Value, x: Value, decay: number): Value {
  return g.op('add', [times(g, average, decay), times(g, x, 1 - decay)]);
}

/** parameter - rate * (direction + weightDecay * parameter) */
export function descend(g: GraphBuilder, parameter: Value, rate: Value, direction: Value, weightDecay: number): Value {
  const whole = weightDecay === 0 ? direction : g.op('add', [direction, times(g, parameter, weightDecay)]);
  return g.op('subtract', [parameter, g.op('multiply', [spread(g, rate, parameter), whole])]);
}
