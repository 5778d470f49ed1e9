import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { broadcastTo } from './body-steps.ts';
import { f32 } from './operand-specs.ts';
import { rmsNormGrad } from './rms-norm-grad.ts';
import { checkRmsNorm, normalize } from './rms-norm-steps.ts';

export const rmsNorm: OpDefinition = defineOp('rms_norm', {
  version: 1,
  summary: '(x * r) * weight with r = 1 / sqrt(sum(x * x) / n + eps) over the last axis of n elements.',
  operands: { x: f32, weight: { ...f32, rank: 1 } },
  attributes: { eps: attribute.f64() },
  results: ['y'],
  infer({ x, weight }, { eps }) {
    checkRmsNorm('rms_norm', x, weight, eps);
    return [x];
  },
  body(g, { x, weight }, { eps }) {
    const { shape } = x.type;
    const { normalized } = normalize(g, x, eps);
    return [g.op('multiply', [normalized, broadcastTo(g, weight, shape, [shape.length - 1])])];
  },
  gradient(g, { operands: { x, weight }, attributes, cotangents: [dy] }) {
    const [dx, dweight] = g.apply(rmsNormGrad, [x, weight, dy], attributes);
    return { x: dx!, weight: dweight! };
  },
  flops: ({ x }) => 4 * x.shape.reduce((product, dim) => product * dim, 1),
});
