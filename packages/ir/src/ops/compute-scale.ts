import { type ScaleRounding, computeScale as scaleOf } from '@quaver/numerics';
import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { encodeFloats } from './evaluation/floats.ts';
import { f32 } from './operand-specs.ts';

export const computeScale: OpDefinition = defineOp('compute_scale', {
  version: 1,
  summary:
    'The scale that brings amax to max, the largest magnitude of the target format; exact, rounded up to a power of ' +
    'two, or to the nearest one. amax 0, Inf or NaN gives 1. An f8e8m0fnu scale is stored as its exponent plus 127.',
  operands: { amax: f32 },
  attributes: {
    max: attribute.f64(),
    rounding: attribute.oneOf(['none', 'pow2_up', 'pow2_nearest']),
    to: attribute.dtype('f32'),
  },
  results: ['scale'],
  traits: ['elementwise'],
  infer({ amax }, { max, rounding, to }) {
    if (to !== 'f32' && to !== 'f8e8m0fnu')
      throw typeError('compute_scale', `to is ${to}`, 'Scales are f32 or f8e8m0fnu.');
    if (to === 'f8e8m0fnu' && rounding === 'none') {
      throw typeError(
        'compute_scale',
        'an f8e8m0fnu scale without rounding',
        'Choose rounding pow2_up or pow2_nearest.',
      );
    }
    if (!(max >= 1 && Number.isFinite(Math.fround(max)))) {
      throw typeError(
        'compute_scale',
        `max is ${max}`,
        'Give the largest magnitude of the target format, such as 448.',
      );
    }
    return [{ dtype: to, shape: amax.shape }];
  },
  flops: ({ amax }) => concreteElementCount(amax),
  evaluate({ amax }, { max, rounding, to }, [type]) {
    const scales = new Float32Array(amax.data.length);
    const options = { max, rounding: rounding as ScaleRounding };
    for (let i = 0; i < scales.length; i++) scales[i] = scaleOf(amax.data[i]!, options);
    return [{ type: type!, data: encodeFloats(to, scales, true) }];
  },
});
