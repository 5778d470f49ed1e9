import { attribute } from '../attribute.ts';
import type { GraphBuilder } from '../builder.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { reduceAndSpread } from './body-steps.ts';
import { f32 } from './operand-specs.ts';
import { checkAxis } from './shape-rules.ts';

export const softmax: OpDefinition = defineOp('softmax', {
  version: 1,
  summary: 'exp(x - max) / sum(exp(x - max)) along one axis; the sum is in the canonical order of row reductions.',
  operands: { x: f32 },
  attributes: { axis: attribute.int() },
  results: ['y'],
  infer({ x }, { axis }) {
    checkAxis('softmax', 'axis', axis, x.shape.length);
    return [x];
  },
  body(g, { x }, { axis }) {
    const { exps, sum } = shiftedExps(g, x, axis);
    return [g.op('divide', [exps, sum])];
  },
  /** y * (dy - sum(dy * y)) */
  gradient(g, { attributes: { axis }, results: [y], cotangents: [dy] }) {
    const weighted = reduceAndSpread(g, g.op('multiply', [dy!, y!]), 'sum', axis);
    return { x: g.op('multiply', [y!, g.op('subtract', [dy!, weighted])]) };
  },
  flops: ({ x }) => 5 * x.shape.reduce((product, dim) => product * dim, 1),
});

export const logSoftmax: OpDefinition = defineOp('log_softmax', {
  version: 1,
  summary: '(x - max) - log(sum(exp(x - max))) along one axis; the sum is in the canonical order of row reductions.',
  operands: { x: f32 },
  attributes: { axis: attribute.int() },
  results: ['y'],
  infer({ x }, { axis }) {
    checkAxis('log_softmax', 'axis', axis, x.shape.length);
    return [x];
  },
  body(g, { x }, { axis }) {
    const { shifted, sum } = shiftedExps(g, x, axis);
    return [g.op('subtract', [shifted, g.op('log', [sum])])];
  },
  /** dy - exp(y) * sum(dy) */
  gradient(g, { attributes: { axis }, results: [y], cotangents: [dy] }) {
    const total = reduceAndSpread(g, dy!, 'sum', axis);
    return { x: g.op('subtract', [dy!, g.op('multiply', [g.op('exp', [y!]), total])]) };
  },
  flops: ({ x }) => 5 * x.shape.reduce((product, dim) => product * dim, 1),
});

/** x - max along the axis, its exponentials, and their sum in the shape of x. */
function shiftedExps(g: GraphBuilder, x: Value, axis: number): { shifted: Value; exps: Value; sum: Value } {
  const shifted = g.op('subtract', [x, reduceAndSpread(g, x, 'max', axis)]);
  const exps = g.op('exp', [shifted]);
  return { shifted, exps, sum: reduceAndSpread(g, exps, 'sum', axis) };
}
