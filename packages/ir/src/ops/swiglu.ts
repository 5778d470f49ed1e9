import { defineOp, type OpDefinition } from '../op.ts';
import { f32 } from './operand-specs.ts';
import { checkSameType } from './shape-rules.ts';
import { swigluGrad } from './swiglu-grad.ts';

export const swiglu: OpDefinition = defineOp('swiglu', {
  version: 1,
  summary: 'silu(gate) * up.',
  operands: { gate: f32, up: f32 },
  attributes: {},
  results: ['y'],
  traits: ['elementwise'],
  infer({ gate, up }) {
    checkSameType('swiglu', 'gate', gate, 'up', up);
    return [gate];
  },
  body: (g, { gate, up }) => [g.op('multiply', [g.op('silu', [gate]), up])],
  gradient(g, { operands: { gate, up }, cotangents: [dy] }) {
    const [dgate, dup] = g.apply(swigluGrad, [gate, up, dy]);
    return { gate: dgate!, up: dup! };
  },
  flops: ({ gate }) => 5 * gate.shape.reduce((product, dim) => product * dim, 1),
});
