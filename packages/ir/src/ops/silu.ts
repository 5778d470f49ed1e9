import type { GraphBuilder } from '../builder.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { splatLike } from './body-steps.ts';
import { f32 } from './operand-specs.ts';

/** The derivative of silu at x: s * (1 + x * (1 - s)) with s = 1 / (1 + exp(-x)). */
function siluSlope(g: GraphBuilder, x: Value): Value {
  const one = splatLike(g, 1, x);
  const s = g.op('divide', [one, g.op('add', [one, g.op('exp', [g.op('negate', [x])])])]);
  const rest = g.op('multiply', [x, g.op('subtract', [one, s])]);
  return g.op('multiply', [s, g.op('add', [one, rest])]);
}

export const silu: OpDefinition = defineOp('silu', {
  version: 1,
  summary: 'x / (1 + exp(-x)).',
  operands: { x: f32 },
  attributes: {},
  results: ['y'],
  traits: ['elementwise'],
  infer: ({ x }) => [x],
  body(g, { x }) {
    const denominator = g.op('add', [splatLike(g, 1, x), g.op('exp', [g.op('negate', [x])])]);
    return [g.op('divide', [x, denominator])];
  },
  gradient: (g, { operands: { x }, cotangents: [dy] }) => ({ x: g.op('multiply', [dy!, siluSlope(g, x)]) }),
  flops: ({ x }) => 4 * x.shape.reduce((product, dim) => product * dim, 1),
});
