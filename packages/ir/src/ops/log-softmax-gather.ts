import { defineOp, type OpDefinition } from '../op.ts';
import { logSoftmaxGatherGrad } from './log-softmax-gather-grad.ts';
import { f32, i32 } from './operand-specs.ts';
import { checkTargets } from './shape-rules.ts';

export const logSoftmaxGather: OpDefinition = defineOp('log_softmax_gather', {
  version: 1,
  summary:
    'The log-probability of one target per row: log_softmax along the last axis, then the element at the target.',
  operands: { x: f32, targets: i32 },
  attributes: {},
  results: ['logprob'],
  infer({ x, targets }) {
    checkTargets('log_softmax_gather', x, targets);
    return [{ dtype: 'f32', shape: targets.shape }];
  },
  body(g, { x, targets }) {
    const axis = x.type.shape.length - 1;
    const logprobs = g.op('log_softmax', [x], { axis });
    return [g.op('gather', [logprobs, targets], { axis, batch_dims: axis })];
  },
  gradient(g, { operands: { x, targets }, cotangents: [dy] }) {
    return { x: g.apply(logSoftmaxGatherGrad, [x, targets, dy])[0]! };
  },
  flops: ({ x }) => 5 * x.shape.reduce((product, dim) => product * dim, 1),
});
