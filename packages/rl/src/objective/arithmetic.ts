/** @file Elementwise f32 arithmetic in a graph; a number stands for a constant of the other operand's shape. */
import type { GraphBuilder, Value } from '@quaver/ir';

type Binary = (g: GraphBuilder, a: Value, b: Value | number) => Value;

export const add: Binary = binary('add');
export const subtract: Binary = binary('subtract');
export const multiply: Binary = binary('multiply');
export const divide: Binary = binary('divide');
export const minimum: Binary = binary('minimum');
export const maximum: Binary = binary('maximum');

/** Outside of [low, high] nothing flows back. */
export function clamp(g: GraphBuilder, x: Value, low: number, high: number): Value {
  return maximum(g, minimum(g, x, high), low);
}

/** `yes` where `x` compares so with a number, `no` elsewhere. */
export function where(
  g: GraphBuilder,
  [x, direction, bound]: readonly [Value, 'EQ' | 'LT', number],
  yes: Value | number,
  no: Value | number,
): Value {
  const value = (item: Value | number) => (typeof item === 'number' ? splat(g, item, x) : item);
  return g.op('select', [g.op('compare', [x, splat(g, bound, x)], { direction }), value(yes), value(no)]);
}

function binary(op: string): Binary {
  return (g, a, b) => g.op(op, [a, typeof b === 'number' ? splat(g, b, a) : b]);
}

function splat(g: GraphBuilder, value: number, like: Value): Value {
  return g.constant(value, 'f32', like.type.shape);
}
