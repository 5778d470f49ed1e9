import { attribute } from '../attribute.ts';
import { fp8DTypes } from '../dtype.ts';
import { defineOp, type OpDefinition, stopped, typeError } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { encodeFloats } from './evaluation/floats.ts';
import { scaledByBlock } from './evaluation/scaled-by-block.ts';
import { highPrecision, scale } from './operand-specs.ts';
import { blockedShape, checkShape } from './shape-rules.ts';

export const quantize: OpDefinition = defineOp('quantize', {
  version: 1,
  summary: 'cast(x / scale of its block): one f32 division, then the exact cast to FP8.',
  operands: { x: highPrecision, scale },
  attributes: { to: attribute.dtype(), block: attribute.ints(), saturate: attribute.bool(true) },
  results: ['q'],
  traits: ['narrowing', 'fold-barrier'],
  infer({ x, scale }, { to, block }) {
    if (!fp8DTypes.includes(to)) throw typeError('quantize', `to is ${to}`, `It makes ${fp8DTypes.join(' or ')}.`);
    checkShape(
      'quantize',
      'scale',
      scale,
      blockedShape('quantize', 'block', x.shape, block),
      'one scale per block of x',
    );
    return [{ dtype: to, shape: x.shape }];
  },
  flops: ({ x }) => concreteElementCount(x),
  gradient: (_, { cotangents: [dq] }) => ({ x: dq!, scale: stopped }),
  evaluate({ x, scale }, { to, block, saturate }, [type]) {
    return [{ type: type!, data: encodeFloats(to, scaledByBlock(x, scale, block), saturate) }];
  },
});
