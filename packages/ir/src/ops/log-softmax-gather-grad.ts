import { defineOp, type OpDefinition } from '../op.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { zerosLike } from './gradient-steps.ts';
import { f32, i32 } from './operand-specs.ts';
import { checkShape, checkTargets } from './shape-rules.ts';

export const logSoftmaxGatherGrad: OpDefinition = defineOp('log_softmax_gather_grad', {
  version: 1,
  summary:
    'What the loss changes by with x of log_softmax_gather, given dy: ((1 at the target, 0 elsewhere) - softmax(x)) * dy. A ' +
    'target out of range is nowhere.',
  operands: { x: f32, targets: i32, dy: f32 },
  attributes: {},
  results: ['dx'],
  infer({ x, targets, dy }) {
    checkTargets('log_softmax_gather_grad', x, targets);
    checkShape('log_softmax_gather_grad', 'dy', dy, targets.shape, 'one number per row of x');
    return [x];
  },
  body(g, { x, targets, dy }) {
    const { shape } = x.type;
    const axis = shape.length - 1;
    const rows = shape.slice(0, -1).map((_, i) => i);
    const target = broadcastTo(g, targets, shape, rows);
    const hit = g.op('compare', [g.op('iota', [], { dtype: 'i32', shape, axis }), target], { direction: 'EQ' });
    const oneHot = g.op('select', [hit, splatLike(g, 1, x), zerosLike(g, x)]);
    const error = g.op('subtract', [oneHot, g.op('softmax', [x], { axis })]);
    return [g.op('multiply', [error, broadcastTo(g, dy, shape, rows)])];
  },
  flops: ({ x }) => 7 * x.shape.reduce((product, dim) => product * dim, 1),
});
