import { defineOp, type OpDefinition } from '../op.ts';
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
  flops: ({ x }) => 5 * x.shape.reduce((product, dim) => product * dim, 1),
});
