/** @file Steps that gradient rules have in common. */
import type { GraphBuilder } from '../builder.ts';
import { type Dim, multiplyDims } from '../dim.ts';
import type { Value } from '../module.ts';

/** +0 in f32, in the shape of `like`. */
export function zerosLike(g: GraphBuilder, like: Value): Value {
  return g.constant(0, 'f32', like.type.shape);
}

/** `dy` where `a` compares so with `b`, `otherwise` elsewhere. */
export function where(
  g: GraphBuilder,
  [a, direction, b]: readonly [Value, 'GT' | 'LT' | 'EQ', Value],
  dy: Value,
  otherwise: Value,
): Value {
  return g.op('select', [g.op('compare', [a, b], { direction }), dy, otherwise]);
}

/** Sums over axes, from the last to the first; the axes go. */
export function sumOver(g: GraphBuilder, x: Value, axes: readonly number[]): Value {
  return [...axes].sort((a, b) => b - a).reduce((sum, axis) => g.op('reduce', [sum], { kind: 'sum', axes: [axis] }), x);
}

/** The same elements in another shape; nothing where the shape is the same. */
export function reshaped(g: GraphBuilder, x: Value, shape: readonly Dim[]): Value {
  const same = shape.length === x.type.shape.length && shape.every((dim, axis) => dim === x.type.shape[axis]);
  return same ? x : g.op('reshape', [x], { shape });
}

/** Axes of `x` in this order; nothing where they are in it. */
export function permuted(g: GraphBuilder, x: Value, permutation: readonly number[]): Value {
  return permutation.every((axis, i) => axis === i) ? x : g.op('transpose', [x], { permutation });
}

/** Undoes {@link permuted}. */
export function unpermuted(g: GraphBuilder, x: Value, permutation: readonly number[]): Value {
  return permuted(
    g,
    x,
    permutation.map((_, axis) => permutation.indexOf(axis)),
  );
}

/** Axes [from, to) of `x` as one; a new one of size 1 where there are none. */
export function merged(g: GraphBuilder, x: Value, from: number, to: number): Value {
  const { shape } = x.type;
  return reshaped(g, x, [...shape.slice(0, from), multiplyDims(...shape.slice(from, to)), ...shape.slice(to)]);
}
