import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType } from '../type.ts';
import { allocateLike } from './evaluation/floats.ts';
import { copyStrided, rowMajorStrides } from './evaluation/strided.ts';
import { permuted, reshaped, sumOver } from './gradient-steps.ts';
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
  gradient(g, { operands: { x }, attributes: { shape, dims }, cotangents: [dy] }) {
    const repeats = (axis: number) => x.type.shape[dims.indexOf(axis)] !== shape[axis];
    const summed = sumOver(
      g,
      dy!,
      shape.map((_, axis) => axis).filter((axis) => !dims.includes(axis) || repeats(axis)),
    );
    // What is left are the axes of x in the order of the result, without those that were 1 and were repeated.
    const left = dims.map((axis, i) => ({ axis, i })).filter(({ axis }) => !repeats(axis));
    const order = [...left].sort((a, b) => a.axis - b.axis);
    return {
      x: reshaped(
        g,
        permuted(
          g,
          summed,
          left.map((item) => order.indexOf(item)),
        ),
        x.type.shape,
      ),
    };
  },
  evaluate({ x }, { dims }, [type]) {
    const { dtype, shape } = type!;
    const y = allocateLike(dtype, concreteElementCount(type!), x);
    const sourceStrides = rowMajorStrides(x.type.shape);
    const strides = shape.map(() => 0);
    dims.forEach((axis, i) => {
      if (x.type.shape[i] !== 1) strides[axis] = sourceStrides[i]!;
    });
    copyStrided(x.data, 0, strides, y, shape);
    return [{ type: type!, data: y }];
  },
});
