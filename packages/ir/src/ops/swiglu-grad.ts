import { defineOp, type OpDefinition } from '../op.ts';
import { splatLike } from './body-steps.ts';
import { f32 } from './operand-specs.ts';
import { checkSameType } from './shape-rules.ts';

export const swigluGrad: OpDefinition = defineOp('swiglu_grad', {
  version: 1,
  summary:
    'What the loss changes by with gate and up of swiglu, given dy: with s = 1 / (1 + exp(-gate)), dgate = (dy * up) * (s * (1 + ' +
    'gate * (1 - s))) and dup = dy * (gate * s).',
  operands: { gate: f32, up: f32, dy: f32 },
  attributes: {},
  results: ['dgate', 'dup'],
  traits: ['elementwise'],
  infer({ gate, up, dy }) {
    checkSameType('swiglu_grad', 'gate', gate, 'up', up);
    checkSameType('swiglu_grad', 'gate', gate, 'dy', dy);
    return [gate, gate];
  },
  body(g, { gate, up, dy }) {
    const one = splatLike(g, 1, gate);
    const s = g.op('divide', [one, g.op('add', [one, g.op('exp', [g.op('negate', [gate])])])]);
    const rest = g.op('multiply', [gate, g.op('subtract', [one, s])]);
    const slope = g.op('multiply', [s, g.op('add', [one, rest])]);
    return [g.op('multiply', [g.op('multiply', [dy, up]), slope]), g.op('multiply', [dy, g.op('multiply', [gate, s])])];
  },
  flops: ({ gate }) => 14 * gate.shape.reduce((product, dim) => product * dim, 1),
});
