import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition, stopped, typeError } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { forEachBlockRun } from './evaluation/block-runs.ts';
import { allocateFloats, encodeFloats, floatsOf } from './evaluation/floats.ts';
import { fp8, scale } from './operand-specs.ts';
import { blockedShape, checkShape } from './shape-rules.ts';

export const dequantize: OpDefinition = defineOp('dequantize', {
  version: 1,
  summary: 'decode(q) * scale of its block: one f32 product, then the cast when the target is bf16.',
  operands: { q: fp8, scale },
  attributes: { to: attribute.dtype(), block: attribute.ints() },
  results: ['x'],
  traits: ['fold-barrier'],
  infer({ q, scale }, { to, block }) {
    if (to !== 'f32' && to !== 'bf16') throw typeError('dequantize', `to is ${to}`, 'It makes f32 or bf16.');
    checkShape(
      'dequantize',
      'scale',
      scale,
      blockedShape('dequantize', 'block', q.shape, block),
      'one scale per block of q',
    );
    return [{ dtype: to, shape: q.shape }];
  },
  flops: ({ q }) => concreteElementCount(q),
  gradient: (_, { cotangents: [dx] }) => ({ q: dx!, scale: stopped }),
  evaluate({ q, scale }, { to, block }, [type]) {
    const codes = floatsOf(q);
    const scales = floatsOf(scale);
    const values = allocateFloats(codes.length, codes);
    forEachBlockRun(q.type.shape, block, (start, length, index) => {
      const factor = scales[index]!;
      for (let i = start; i < start + length; i++) values[i] = codes[i]! * factor;
    });
    return [{ type: type!, data: encodeFloats(to, values, true) }];
  },
});
