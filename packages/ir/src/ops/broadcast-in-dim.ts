import { attribute } from '../attribute.ts';
import { allocateHostArray } from '../dtype.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType } from '../type.ts';
import { copyStrided, rowMajorStrides } from './evaluation/strided.ts';
import { anyDType } from './operand-specs.ts';
import { checkAxes } from './shape-rules.ts';

export const broadcastInDim: OpDefinition = defineOp('broadcast_in_dim', {
  version: 1,
  summary: 'Repeats x into a larger shape: axis i of x becomes axis dims[i] of the result, where it is 1 or as long.',
  operands: { x: anyDType },
  attributes: { shape: attribute.dims(), dims: attribute.ints() },
  results: ['y'],
  infer({ x }, { shape, dims }) {
    if (dims.length !== x.shape.length) {
      throw typeError(
        'broadcast_in_dim',
        `dims [${dims.join(',')}] does not fit x, ${formatType(x)}`,
        'Give one result axis per axis of x.',
      );
    }
    checkAxes('broadcast_in_dim', 'dims', dims, shape.length);
    dims.forEach((axis, i) => {
      if (x.shape[i] === 1 || x.shape[i] === shape[axis]) return;
      throw typeError(
        'broadcast_in_dim',
        `axis ${i} of x, ${formatType(x)}, cannot become axis ${axis} of [${shape.join(',')}]`,
        'An axis is repeated only when its size is 1.',
      );
    });
    return [{ dtype: x.dtype, shape }];
  },
  evaluate({ x }, { dims }, [type]) {
    const { dtype, shape } = type!;
    const y = allocateHostArray(dtype, concreteElementCount(type!));
    const sourceStrides = rowMajorStrides(x.type.shape);
    const strides = shape.map(() => 0);
    dims.forEach((axis, i) => {
      if (x.type.shape[i] !== 1) strides[axis] = sourceStrides[i]!;
    });
    copyStrided(x.data, 0, strides, y, shape);
    return [{ type: type!, data: y }];
  },
});
