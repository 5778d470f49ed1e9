import type { GraphBuilder } from '../builder.ts';
import type { Dim } from '../dim.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, stopped, typeError } from '../op.ts';
import { formatType } from '../type.ts';
import { broadcastTo } from './body-steps.ts';
import { f32, i32 } from './operand-specs.ts';
import { checkSameType, checkShape, staticDim } from './shape-rules.ts';

export const rope: OpDefinition = defineOp('rope', {
  version: 1,
  summary:
    'Rotary position embedding, rotate-half, on the first R = 2 * cos.shape[1] of D elements; token t of row b ' +
    'has position[b] + t, or position[b, t] where position has two axes. y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin; the other elements pass.',
  operands: {
    x: { ...f32, rank: 4 },
    cos: { ...f32, rank: 2 },
    sin: { ...f32, rank: 2 },
    position: i32,
  },
  attributes: {},
  results: ['y'],
  infer({ x, cos, sin, position }) {
    checkSameType('rope', 'cos', cos, 'sin', sin);
    const [axes, why] =
      position.shape.length === 2
        ? [2, 'the position of every token']
        : [1, 'the position of the first token of every row, or with two axes of every token'];
    checkShape('rope', 'position', position, x.shape.slice(0, axes), why);
    const rotated = 2 * staticDim('rope', 'axis 1 of cos', cos.shape[1]!);
    if (rotated === 0 || rotated > staticDim('rope', 'the last axis of x', x.shape[3]!)) {
      throw typeError(
        'rope',
        `cos is ${formatType(cos)} but x is ${formatType(x)}`,
        'cos has at most half as many columns as x.',
      );
    }
    return [x];
  },
  body(g, { x, cos, sin, position }) {
    const [batch, tokens, heads, depth] = x.type.shape as [Dim, Dim, Dim, number];
    const half = cos.type.shape[1] as number;
    const at = tokenPositions(g, position, x);
    const spread = (table: Value) =>
      broadcastTo(g, g.op('gather', [table, at], { axis: 0 }), [batch, tokens, heads, half], [0, 1, 3]);
    const columns = (from: number, to: number) =>
      g.op('slice', [x], { start: [0, 0, 0, from], limit: [batch, tokens, heads, to], stride: [1, 1, 1, 1] });
    const [c, s] = [spread(cos), spread(sin)];
    const [x1, x2] = [columns(0, half), columns(half, 2 * half)];
    const y1 = g.op('subtract', [g.op('multiply', [x1, c]), g.op('multiply', [x2, s])]);
    const y2 = g.op('add', [g.op('multiply', [x2, c]), g.op('multiply', [x1, s])]);
    const rotated = g.op('concatenate', [y1, y2], { axis: 3 });
    if (depth === 2 * half) return [rotated];
    return [g.op('concatenate', [rotated, columns(2 * half, depth)], { axis: 3 })];
  },
  /** The rotation back. The tables are data, not weights. */
  gradient: (g, { operands: { cos, sin, position }, cotangents: [dy] }) => ({
    x: g.op('rope', [dy!, cos, g.op('negate', [sin]), position]),
    cos: stopped,
    sin: stopped,
  }),
  flops: ({ x }) => 3 * x.shape.reduce((product, dim) => product * dim, 1),
});

/** i32 [B,T], for x [B,T,…]: position[b] + t, or the positions themselves. */
function tokenPositions(g: GraphBuilder, position: Value, x: Value): Value {
  if (position.type.shape.length === 2) return position;
  const shape = x.type.shape.slice(0, 2);
  return g.op('add', [broadcastTo(g, position, shape, [0]), g.op('iota', [], { dtype: 'i32', shape, axis: 1 })]);
}
