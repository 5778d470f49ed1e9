import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { formatType } from '../type.ts';
import { allocateLike } from './evaluation/floats.ts';
import { copyStrided, rowMajorStrides } from './evaluation/strided.ts';
import { unpermuted } from './gradient-steps.ts';
import { anyDType } from './operand-specs.ts';
import { checkAxes } from './shape-rules.ts';

export const transpose: OpDefinition = defineOp('transpose', {
  version: 1,
  summary: 'Reorders axes: axis i of the result is axis permutation[i] of x.',
  operands: { x: anyDType },
  attributes: { permutation: attribute.ints() },
  results: ['y'],
  infer({ x }, { permutation }) {
    if (permutation.length !== x.shape.length) {
      throw typeError(
        'transpose',
        `permutation [${permutation.join(',')}] does not fit x, ${formatType(x)}`,
        'Name each axis of x once.',
      );
    }
    checkAxes('transpose', 'permutation', permutation, x.shape.length);
    return [{ dtype: x.dtype, shape: permutation.map((axis) => x.shape[axis]!) }];
  },
  gradient: (g, { attributes: { permutation }, cotangents: [dy] }) => ({ x: unpermuted(g, dy!, permutation) }),
  evaluate({ x }, { permutation }, [type]) {
    const y = allocateLike(x.type.dtype, x.data.length, x);
    const strides = rowMajorStrides(x.type.shape);
    copyStrided(
      x.data,
      0,
      permutation.map((axis) => strides[axis]!),
      y,
      type!.shape,
    );
    return [{ type: type!, data: y }];
  },
});
