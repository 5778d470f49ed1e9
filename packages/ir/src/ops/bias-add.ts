import { defineOp, type OpDefinition } from '../op.ts';
import { broadcastTo } from './body-steps.ts';
import { f32 } from './operand-specs.ts';
import { checkAxis, checkShape } from './shape-rules.ts';

export const biasAdd: OpDefinition = defineOp('bias_add', {
  version: 1,
  summary: 'x + bias, with the bias along the last axis.',
  operands: { x: f32, bias: { ...f32, rank: 1 } },
  attributes: {},
  results: ['y'],
  infer({ x, bias }) {
    checkAxis('bias_add', 'the last axis of x,', x.shape.length - 1, x.shape.length);
    checkShape('bias_add', 'bias', bias, x.shape.slice(-1), 'one bias per element of the last axis of x');
    return [x];
  },
  body: (g, { x, bias }) => [g.op('add', [x, broadcastTo(g, bias, x.type.shape, [x.type.shape.length - 1])])],
  flops: ({ x }) => x.shape.reduce((product, dim) => product * dim, 1),
});
