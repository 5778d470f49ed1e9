import { defineOp, type OpDefinition } from '../op.ts';
import { splatLike } from './body-steps.ts';
import { f32 } from './operand-specs.ts';

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
  flops: ({ x }) => 4 * x.shape.reduce((product, dim) => product * dim, 1),
});
