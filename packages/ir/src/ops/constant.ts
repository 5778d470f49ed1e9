import { attribute } from '../attribute.ts';
import { allocateHostArray, type DType } from '../dtype.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { encodeElement } from './evaluation/floats.ts';

const integerRanges: Partial<Record<DType, readonly [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u8: [0, 255],
  bool: [0, 1],
};

export const constant: OpDefinition = defineOp('constant', {
  version: 1,
  summary: 'A tensor whose elements all have one value, rounded to f32 and then to the dtype.',
  operands: {},
  attributes: { value: attribute.f64(), dtype: attribute.dtype(), shape: attribute.dims() },
  results: ['y'],
  infer(_, { value, dtype, shape }) {
    const range = integerRanges[dtype];
    if (range && !(Number.isInteger(value) && value >= range[0] && value <= range[1])) {
      throw typeError(
        'constant',
        `${value} is not a value of ${dtype}`,
        `Give an integer from ${range[0]} to ${range[1]}.`,
      );
    }
    return [{ dtype, shape }];
  },
  evaluate(_, { value, dtype }, [type]) {
    const y = allocateHostArray(dtype, concreteElementCount(type!));
    y.fill(encodeElement(dtype, value));
    return [{ type: type!, data: y }];
  },
});
