import { floatFormats } from '@quaver/numerics';
import { attribute } from '../attribute.ts';
import { fp8DTypes } from '../dtype.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { forEachBlockRun } from './evaluation/block-runs.ts';
import { floatsOf } from './evaluation/floats.ts';
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
  evaluate({ x, scale }, { to, block, saturate }, [type]) {
    const values = floatsOf(x);
    const scales = floatsOf(scale);
    const scaled = new Float32Array(values.length);
    forEachBlockRun(x.type.shape, block, (start, length, index) => {
      const divisor = scales[index]!;
      for (let i = start; i < start + length; i++) scaled[i] = values[i]! / divisor;
    });
    const codes = new Uint8Array(values.length);
    floatFormats[to as 'f8e4m3fn' | 'f8e5m2'].encodeInto(scaled, codes, saturate);
    return [{ type: type!, data: codes }];
  },
});
