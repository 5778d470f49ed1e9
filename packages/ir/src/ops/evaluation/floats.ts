import { floatFormats } from '@quaver/numerics';
import { allocateHostArray, type DType, floatDTypes, type HostArray } from '../../dtype.ts';
import type { HostTensor } from '../../type.ts';

type CodedDType = 'bf16' | 'f16' | 'f8e4m3fn' | 'f8e5m2' | 'f8e8m0fnu';

/** Numbers of a float tensor: f32, or float64 where the interpreter was given real numbers. */
export type Floats = Float32Array | Float64Array;

/** Zeros in the precision of the operands: float64 if one of them has it. */
export function allocateFloats(length: number, ...operands: readonly (HostTensor | Floats | undefined)[]): Floats {
  const real = operands.some((x) => x instanceof Float64Array || (x && 'data' in x && x.data instanceof Float64Array));
  return real ? new Float64Array(length) : new Float32Array(length);
}

/** Zeros for a result of `dtype` that takes over elements of the operands. */
export function allocateLike(dtype: DType, length: number, ...operands: readonly HostTensor[]): HostArray {
  const floats = floatDTypes.includes(dtype) && operands.some(({ data }) => data instanceof Float64Array);
  return floats ? new Float64Array(length) : allocateHostArray(dtype, length);
}

/** The values of a float tensor as f32; the tensor's own array when it is f32 already, or holds real numbers. */
export function floatsOf(tensor: HostTensor): Floats {
  if (tensor.type.dtype === 'f32' || tensor.data instanceof Float64Array) return tensor.data as Floats;
  const values = new Float32Array(tensor.data.length);
  floatFormats[tensor.type.dtype as CodedDType].decodeInto(tensor.data as Uint8Array | Uint16Array, values);
  return values;
}

/** Casts f32 values to a float dtype. Only 8-bit targets saturate; f32 gives the array itself, and real numbers stay. */
export function encodeFloats(dtype: DType, values: Floats, saturate: boolean): HostArray {
  if (dtype === 'f32' || values instanceof Float64Array) return values;
  const format = floatFormats[dtype as CodedDType];
  const codes = allocateHostArray(dtype, values.length) as Uint8Array | Uint16Array;
  format.encodeInto(values, codes, saturate && format.bits === 8);
  return codes;
}

/** What a host array of `dtype` stores for a number. */
export function encodeElement(dtype: DType, value: number): number {
  if (dtype === 'f32' || dtype === 'i32' || dtype === 'u8' || dtype === 'bool') return value;
  return floatFormats[dtype].encode(value);
}
