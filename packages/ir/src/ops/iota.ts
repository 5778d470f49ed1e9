import { attribute } from '../attribute.ts';
import { allocateHostArray } from '../dtype.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { checkAxis } from './shape-rules.ts';

export const iota: OpDefinition = defineOp('iota', {
  version: 1,
  summary: 'Every element is its own index along one axis: 0, 1, 2, …',
  operands: {},
  attributes: { dtype: attribute.dtype(), shape: attribute.dims(), axis: attribute.int() },
  results: ['y'],
  infer(_, { dtype, shape, axis }) {
    if (dtype !== 'i32' && dtype !== 'f32') throw typeError('iota', `dtype is ${dtype}`, 'It makes i32 or f32.');
    checkAxis('iota', 'axis', axis, shape.length);
    return [{ dtype, shape }];
  },
  evaluate(_, { dtype, axis }, [type]) {
    const { shape } = type!;
    const y = allocateHostArray(dtype, concreteElementCount(type!));
    const inner = shape.slice(axis + 1).reduce((product, dim) => product * dim, 1);
    const length = shape[axis]!;
    for (let at = 0, index = 0; at < y.length; at += inner) {
      y.fill(index, at, at + inner);
      index = index + 1 === length ? 0 : index + 1;
    }
    return [{ type: type!, data: y }];
  },
});
