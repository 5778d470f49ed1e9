import { floatFormats } from '@quaver/numerics';
import { allocateHostArray, type DType, type HostArray } from '../../dtype.ts';
import type { HostTensor } from '../../type.ts';

type CodedDType = 'bf16' | 'f16' | 'f8e4m3fn' | 'f8e5m2' | 'f8e8m0fnu';

/** The values of a float tensor as f32; the tensor's own array when it is f32 already. */
export function floatsOf(tensor: HostTensor): Float32Array {
  if (tensor.type.dtype === 'f32') return tensor.data as Float32Array;
  const values = new Float32Array(tensor.data.length);
  floatFormats[tensor.type.dtype as CodedDType].decodeInto(tensor.data as Uint8Array | Uint16Array, values);
  return values;
}

/** Casts f32 values to a float dtype. Only 8-bit targets saturate; f32 gives the array itself. */
export function encodeFloats(dtype: DType, values: Float32Array, saturate: boolean): HostArray {
  if (dtype === 'f32') return values;
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
