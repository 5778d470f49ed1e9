import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { amax } from './amax.ts';
import { computeScale } from './compute-scale.ts';
import { highPrecision } from './operand-specs.ts';
import { quantize } from './quantize.ts';

export const dynamicQuantize: OpDefinition = defineOp('dynamic_quantize', {
  version: 1,
  summary: 'Quantizes by scales taken from the value itself: amax, compute_scale, quantize.',
  operands: { x: highPrecision },
  attributes: {
    to: attribute.dtype(),
    block: attribute.ints(),
    max: attribute.f64(),
    rounding: attribute.oneOf(['none', 'pow2_up', 'pow2_nearest']),
    scale_dtype: attribute.dtype('f32'),
  },
  results: ['q', 'scale'],
  traits: ['narrowing', 'fold-barrier'],
  infer({ x }, { to, block, max, rounding, scale_dtype }) {
    const largest = amax.infer([x], { block }).results[0]!;
    const scale = computeScale.infer([largest], { max, rounding, to: scale_dtype }).results[0]!;
    return [quantize.infer([x, scale], { to, block }).results[0]!, scale];
  },
  body(g, { x }, { to, block, max, rounding, scale_dtype }) {
    const largest = g.op('amax', [x], { block });
    const scale = g.op('compute_scale', [largest], { max, rounding, to: scale_dtype });
    return [g.op('quantize', [x, scale], { to, block }), scale];
  },
  flops: ({ x }) => 2 * x.shape.reduce((product, dim) => product * dim, 1),
});
