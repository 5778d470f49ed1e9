import { attribute } from '../attribute.ts';
import type { GraphBuilder } from '../builder.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { merged } from './gradient-steps.ts';
import { f32 } from './operand-specs.ts';
import { checkAxis, checkShape, staticDim } from './shape-rules.ts';

/** r, with the last axis 1, and x * r. */
function normalize(g: GraphBuilder, x: Value, eps: number): { r: Value; normalized: Value } {
  const { shape } = x.type;
  const axis = shape.length - 1;
  const sum = g.op('reduce', [g.op('multiply', [x, x])], { kind: 'sum', axes: [axis], keep: true });
  const mean = g.op('divide', [sum, splatLike(g, staticDim('rms_norm', 'the last axis of x', shape[axis]!), sum)]);
  const root = g.op('sqrt', [g.op('add', [mean, splatLike(g, eps, mean)])]);
  const r = g.op('divide', [splatLike(g, 1, root), root]);
  return { r, normalized: g.op('multiply', [x, broadcastTo(g, r, shape)]) };
}

export const rmsNorm: OpDefinition = defineOp('rms_norm', {
  version: 1,
  summary: '(x * r) * weight with r = 1 / sqrt(sum(x * x) / n + eps) over the last axis of n elements.',
  operands: { x: f32, weight: { ...f32, rank: 1 } },
  attributes: { eps: attribute.f64() },
  results: ['y'],
  infer({ x, weight }, { eps }) {
    checkAxis('rms_norm', 'the last axis of x,', x.shape.length - 1, x.shape.length);
    checkShape('rms_norm', 'weight', weight, x.shape.slice(-1), 'one weight per element of the last axis of x');
    staticDim('rms_norm', 'the last axis of x', x.shape.at(-1)!);
    if (!(eps >= 0 && eps < Number.POSITIVE_INFINITY)) throw typeError('rms_norm', `eps is ${eps}`);
    return [x];
  },
  body(g, { x, weight }, { eps }) {
    const { shape } = x.type;
    const { normalized } = normalize(g, x, eps);
    return [g.op('multiply', [normalized, broadcastTo(g, weight, shape, [shape.length - 1])])];
  },
  /** With n = x * r: dx = r * (dy * weight - n * mean(dy * weight * n)), dweight = the sum of dy * n over all rows. */
  gradient(g, { operands: { x, weight }, attributes: { eps }, cotangents: [dy] }) {
    const { shape } = x.type;
    const axis = shape.length - 1;
    const { r, normalized } = normalize(g, x, eps);
    const weighted = g.op('multiply', [dy!, broadcastTo(g, weight, shape, [axis])]);
    const along = g.op('reduce', [g.op('multiply', [weighted, normalized])], { kind: 'sum', axes: [axis], keep: true });
    const mean = g.op('divide', [along, splatLike(g, shape[axis] as number, along)]);
    const across = g.op('subtract', [weighted, g.op('multiply', [normalized, broadcastTo(g, mean, shape)])]);
    const rows = merged(g, g.op('multiply', [dy!, normalized]), 0, axis);
    return {
      x: g.op('multiply', [broadcastTo(g, r, shape), across]),
      weight: g.op('reduce', [rows], { kind: 'sum', axes: [0] }),
    };
  },
  flops: ({ x }) => 4 * x.shape.reduce((product, dim) => product * dim, 1),
});
