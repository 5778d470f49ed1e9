import { floatDTypes } from '../dtype.ts';
import { defineOp, type OpDefinition, stopped } from '../op.ts';

export const stopGradient: OpDefinition = defineOp('stop_gradient', {
  version: 1,
  summary: 'x itself; the loss does not change with it.',
  operands: { x: { dtypes: floatDTypes } },
  attributes: {},
  results: ['y'],
  infer: ({ x }) => [x],
  body: (g, { x }) => [g.op('reshape', [x], { shape: x.type.shape })],
  gradient: () => ({ x: stopped }),
});
