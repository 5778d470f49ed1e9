import type { GraphBuilder } from '../builder.ts';
import type { Dim } from '../dim.ts';
import type { Value } from '../module.ts';

/** Broadcasts `x` to `shape`; by default axis i of `x` is axis i of the result. */
export function broadcastTo(g: GraphBuilder, x: Value, shape: readonly Dim[], dims?: readonly number[]): Value {
  return g.op('broadcast_in_dim', [x], { shape, dims: dims ?? x.type.shape.map((_, axis) => axis) });
}

/** An f32 constant with the shape of `like`. */
export function splatLike(g: GraphBuilder, value: number, like: Value): Value {
  return g.constant(value, 'f32', like.type.shape);
}

/** Reduces one axis and broadcasts the result back to the shape of `x`. */
export function reduceAndSpread(g: GraphBuilder, x: Value, kind: 'sum' | 'max', axis: number): Value {
  return broadcastTo(g, g.op('reduce', [x], { kind, axes: [axis], keep: true }), x.type.shape);
}
