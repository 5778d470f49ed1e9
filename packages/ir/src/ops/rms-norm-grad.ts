import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { merged } from './gradient-steps.ts';
import { f32 } from './operand-specs.ts';
import { checkRmsNorm, normalize } from './rms-norm-steps.ts';
import { checkSameType } from './shape-rules.ts';

/** Rows of a partial sum of dweight. */
const ROWS = 64;

export const rmsNormGrad: OpDefinition = defineOp('rms_norm_grad', {
  version: 1,
  summary:
    'What the loss changes by with x and weight of rms_norm, given dy: with m = x * r and w = dy * weight, dx = r * (w - m * (' +
    'sum(w * m) / n)); dweight = the sum of dy * m over all rows, in their order, with partial sums 64 rows long.',
  operands: { x: f32, weight: { ...f32, rank: 1 }, dy: f32 },
  attributes: { eps: attribute.f64() },
  results: ['dx', 'dweight'],
  infer({ x, weight, dy }, { eps }) {
    checkRmsNorm('rms_norm_grad', x, weight, eps);
    checkSameType('rms_norm_grad', 'x', x, 'dy', dy);
    return [x, weight];
  },
  body(g, { x, weight, dy }, { eps }) {
    const { shape } = x.type;
    const axis = shape.length - 1;
    const { r, normalized } = normalize(g, x, eps);
    const weighted = g.op('multiply', [dy, broadcastTo(g, weight, shape, [axis])]);
    const along = g.op('reduce', [g.op('multiply', [weighted, normalized])], { kind: 'sum', axes: [axis], keep: true });
    const mean = g.op('divide', [along, splatLike(g, shape[axis] as number, along)]);
    const across = g.op('subtract', [weighted, g.op('multiply', [normalized, broadcastTo(g, mean, shape)])]);
    const dx = g.op('multiply', [broadcastTo(g, r, shape), across]);
    const rows = merged(g, g.op('multiply', [dy, normalized]), 0, axis);
    // Products with 1 are exact: this only says in which order to add.
    const ones = g.constant(1, 'f32', rows.type.shape.slice(0, 1));
    const order = { lhs_contract: [0], rhs_contract: [0], promote: ROWS };
    return [dx, g.op('dot_general', [ones, rows], order)];
  },
  flops: ({ x }) => 12 * x.shape.reduce((product, dim) => product * dim, 1),
});
