import { attribute } from '../attribute.ts';
import { allocateHostArray, type DType, floatDTypes } from '../dtype.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { encodeFloats, floatsOf } from './evaluation/floats.ts';
import { anyDType } from './operand-specs.ts';

function isFloat(dtype: DType): boolean {
  return floatDTypes.includes(dtype);
}

function canConvert(from: DType, to: DType): boolean {
  if (isFloat(from) && isFloat(to)) return true;
  if (from === 'bool') return to === 'f32' || to === 'i32';
  return (from === 'i32' && to === 'f32') || (from === 'f32' && to === 'i32');
}

export const convert: OpDefinition = defineOp('convert', {
  version: 1,
  summary:
    'Float to float by the exact casts of numerics, through f32 (saturate applies to FP8 targets); i32 to f32 rounds; ' +
    'f32 to i32 truncates and clamps, NaN is 0; bool gives 0 and 1.',
  operands: { x: anyDType },
  attributes: { to: attribute.dtype(), saturate: attribute.bool(true) },
  results: ['y'],
  traits: ['elementwise', 'narrowing', 'fold-barrier'],
  infer({ x }, { to }) {
    if (!canConvert(x.dtype, to)) {
      throw typeError(
        'convert',
        `${x.dtype} to ${to} is not a conversion`,
        'Floats convert to floats, i32 to and from f32, bool to f32 and i32.',
      );
    }
    return [{ dtype: to, shape: x.shape }];
  },
  // Straight through: rounding has no derivative of use.
  gradient: (_, { cotangents: [dy] }) => ({ x: dy! }),
  evaluate({ x }, { to, saturate }, [type]) {
    if (isFloat(x.type.dtype) && isFloat(to)) {
      return [{ type: type!, data: encodeFloats(to, floatsOf(x), saturate) }];
    }
    const y = allocateHostArray(to, x.data.length);
    if (x.type.dtype === 'f32') for (let i = 0; i < y.length; i++) y[i] = clampToI32(x.data[i]!);
    else y.set(x.data);
    return [{ type: type!, data: y }];
  },
});

function clampToI32(value: number): number {
  // NaN stores as 0 in an Int32Array.
  return Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(value)));
}
