import { defineOp, type OpDefinition } from '../op.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { zerosLike } from './gradient-steps.ts';
import { f32, i32 } from './operand-specs.ts';
import { checkAxis, checkShape } from './shape-rules.ts';

export const logSoftmaxGather: OpDefinition = defineOp('log_softmax_gather', {
  version: 1,
  summary:
    'The log-probability of one target per row: log_softmax along the last axis, then the element at the target.',
  operands: { x: f32, targets: i32 },
  attributes: {},
  results: ['logprob'],
  infer({ x, targets }) {
    checkAxis('log_softmax_gather', 'the last axis of x,', x.shape.length - 1, x.shape.length);
    checkShape('log_softmax_gather', 'targets', targets, x.shape.slice(0, -1), 'one target per row of x');
    return [{ dtype: 'f32', shape: targets.shape }];
  },
  body(g, { x, targets }) {
    const axis = x.type.shape.length - 1;
    const logprobs = g.op('log_softmax', [x], { axis });
    return [g.op('gather', [logprobs, targets], { axis, batch_dims: axis })];
  },
  /** (1 at the target - softmax(x)) * dy */
  gradient(g, { operands: { x, targets }, cotangents: [dy] }) {
    const { shape } = x.type;
    const axis = shape.length - 1;
    const rows = shape.slice(0, -1).map((_, i) => i);
    const target = broadcastTo(g, targets, shape, rows);
    const hit = g.op('compare', [g.op('iota', [], { dtype: 'i32', shape, axis }), target], { direction: 'EQ' });
    const oneHot = g.op('select', [hit, splatLike(g, 1, x), zerosLike(g, x)]);
    const error = g.op('subtract', [oneHot, g.op('softmax', [x], { axis })]);
    return { x: g.op('multiply', [error, broadcastTo(g, dy!, shape, rows)]) };
  },
  flops: ({ x }) => 5 * x.shape.reduce((product, dim) => product * dim, 1),
});
