import { attribute } from '../attribute.ts';
import type { Dim } from '../dim.ts';
import { allocateHostArray } from '../dtype.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType } from '../type.ts';
import { copyStrided, rowMajorStrides } from './evaluation/strided.ts';
import { anyDType } from './operand-specs.ts';

/** Length of `dim` cut to start, start + stride, … below limit; undefined when the cut is not allowed. */
function slicedDim(dim: Dim, start: number, limit: Dim, stride: number): Dim | undefined {
  if (start < 0 || stride < 1) return undefined;
  if (typeof dim === 'number' && typeof limit === 'number') {
    return start <= limit && limit <= dim ? Math.ceil((limit - start) / stride) : undefined;
  }
  return dim === limit && start === 0 && stride === 1 ? dim : undefined;
}

export const slice: OpDefinition = defineOp('slice', {
  version: 1,
  summary: 'Elements start, start + stride, … below limit of every axis; a symbolic axis is taken whole.',
  operands: { x: anyDType },
  attributes: { start: attribute.ints(), limit: attribute.dims(), stride: attribute.ints() },
  results: ['y'],
  infer({ x }, { start, limit, stride }) {
    const rank = x.shape.length;
    if (start.length !== rank || limit.length !== rank || stride.length !== rank) {
      throw typeError('slice', `start, limit and stride do not fit x, ${formatType(x)}`, `Give ${rank} of each.`);
    }
    const shape = x.shape.map((dim, i) => {
      const length = slicedDim(dim, start[i]!, limit[i]!, stride[i]!);
      if (length !== undefined) return length;
      throw typeError(
        'slice',
        `axis ${i} of x, ${formatType(x)}, has no slice ${start[i]} to ${limit[i]} by ${stride[i]}`,
        '0 <= start <= limit <= size, stride >= 1; a symbolic axis is taken whole (0, its size, 1).',
      );
    });
    return [{ dtype: x.dtype, shape }];
  },
  evaluate({ x }, { start, stride }, [type]) {
    const y = allocateHostArray(x.type.dtype, concreteElementCount(type!));
    const strides = rowMajorStrides(x.type.shape);
    const offset = start.reduce((sum, index, axis) => sum + index * strides[axis]!, 0);
    copyStrided(
      x.data,
      offset,
      strides.map((step, axis) => step * stride[axis]!),
      y,
      type!.shape,
    );
    return [{ type: type!, data: y }];
  },
});
