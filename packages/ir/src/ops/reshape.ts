import { attribute } from '../attribute.ts';
import { multiplyDims } from '../dim.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { elementCount, formatType } from '../type.ts';
import { reshaped } from './gradient-steps.ts';
import { anyDType } from './operand-specs.ts';

export const reshape: OpDefinition = defineOp('reshape', {
  version: 1,
  summary: 'The same elements in row-major order under another shape.',
  operands: { x: anyDType },
  attributes: { shape: attribute.dims() },
  results: ['y'],
  infer({ x }, { shape }) {
    const [from, to] = [elementCount(x), multiplyDims(...shape)];
    if (from !== to) {
      throw typeError('reshape', `${formatType(x)} has ${from} elements, [${shape.join(',')}] has ${to}`);
    }
    return [{ dtype: x.dtype, shape }];
  },
  gradient: (g, { operands: { x }, cotangents: [dy] }) => ({ x: reshaped(g, dy!, x.type.shape) }),
  evaluate: ({ x }, _, [type]) => [{ type: type!, data: x.data }],
});
