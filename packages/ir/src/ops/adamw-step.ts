import { attribute } from '../attribute.ts';
import type { GraphBuilder } from '../builder.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { f32 } from './operand-specs.ts';
import { checkShape } from './shape-rules.ts';

/** A tensor of one element: what changes from step to step is an operand, so that the graph does not. */
const scalar = { ...f32, rank: 1 };

export const adamwStep: OpDefinition = defineOp('adamw_step', {
  version: 1,
  summary:
    'One step of AdamW (Loshchilov and Hutter, 2019): m = beta1*m + (1-beta1)*g; v = beta2*v + (1-beta2)*(g*g); ' +
    'p = (p - p*(rate*weight_decay)) - rate*((m/correction1) / (sqrt(v/correction2) + eps)), every operation rounded to f32. ' +
    'rate, correction1 = 1 - beta1^t and correction2 = 1 - beta2^t are f32[1].',
  operands: { parameter: f32, gradient: f32, m: f32, v: f32, rate: scalar, correction1: scalar, correction2: scalar },
  attributes: {
    beta1: attribute.f64(0.9),
    beta2: attribute.f64(0.999),
    eps: attribute.f64(1e-8),
    weight_decay: attribute.f64(0),
  },
  results: ['parameter', 'm', 'v'],
  traits: ['elementwise'],
  infer({ parameter, gradient, m, v, rate, correction1, correction2 }, { beta1, beta2, eps, weight_decay }) {
    for (const [name, type] of Object.entries({ gradient, m, v })) {
      checkShape('adamw_step', name, type, parameter.shape, 'the shape of parameter');
    }
    for (const [name, type] of Object.entries({ rate, correction1, correction2 })) {
      checkShape('adamw_step', name, type, [1], 'one number');
    }
    for (const [name, beta] of Object.entries({ beta1, beta2 })) {
      if (!(beta >= 0 && beta < 1))
        throw typeError('adamw_step', `${name} is ${beta}`, 'It is at least 0 and below 1.');
    }
    for (const [name, value] of Object.entries({ eps, weight_decay })) {
      if (!(value >= 0 && Number.isFinite(value)))
        throw typeError('adamw_step', `${name} is ${value}`, 'It is at least 0.');
    }
    return [parameter, parameter, parameter];
  },
  body(g, { parameter, gradient, m, v, rate, correction1, correction2 }, { beta1, beta2, eps, weight_decay }) {
    const times = (x: Value, factor: number) => g.op('multiply', [x, splatLike(g, factor, x)]);
    const spread = (x: Value) => broadcastTo(g, asScalar(g, x), parameter.type.shape, []);
    const first = g.op('add', [times(m, beta1), times(gradient, 1 - beta1)]);
    const squared = g.op('multiply', [gradient, gradient]);
    const second = g.op('add', [times(v, beta2), times(squared, 1 - beta2)]);
    const decay = g.op('multiply', [parameter, spread(times(rate, weight_decay))]);
    const root = g.op('sqrt', [g.op('divide', [second, spread(correction2)])]);
    const direction = g.op('divide', [
      g.op('divide', [first, spread(correction1)]),
      g.op('add', [root, splatLike(g, eps, root)]),
    ]);
    const step = g.op('multiply', [spread(rate), direction]);
    return [g.op('subtract', [g.op('subtract', [parameter, decay]), step]), first, second];
  },
  flops: ({ parameter }) => 16 * parameter.shape.reduce((product, dim) => product * dim, 1),
});

function asScalar(g: GraphBuilder, x: Value): Value {
  return g.op('reshape', [x], { shape: [] });
}
