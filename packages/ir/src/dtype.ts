import { QuaverError } from '@quaver/numerics';

/** Element types of the IR, with the bytes one element takes. Names are the text form's and the files'. */
export const dtypeBytes = {
  f32: 4,
  bf16: 2,
  f16: 2,
  f8e4m3fn: 1,
  f8e5m2: 1,
  f8e8m0fnu: 1,
  i32: 4,
  u8: 1,
  bool: 1,
} as const;

export type DType = keyof typeof dtypeBytes;

export const dtypes: readonly DType[] = Object.keys(dtypeBytes) as DType[];

export const floatDTypes: readonly DType[] = ['f32', 'bf16', 'f16', 'f8e4m3fn', 'f8e5m2', 'f8e8m0fnu'];

/** The 8-bit formats that quantized values are stored in (E8M0 holds scales, not values). */
export const fp8DTypes: readonly DType[] = ['f8e4m3fn', 'f8e5m2'];

export function isDType(name: string): name is DType {
  return Object.hasOwn(dtypeBytes, name);
}

/**
 * The host array that holds elements of a dtype: 8- and 16-bit floats are their codes. A Float64Array holds a float tensor of
 * whatever dtype as real numbers: only the interpreter takes it.
 */
export type HostArray = Float32Array | Float64Array | Uint16Array | Uint8Array | Int32Array;

/** An array of `length` zero elements of `dtype`. */
export function allocateHostArray(dtype: DType, length: number): HostArray {
  switch (dtype) {
    case 'f32':
      return new Float32Array(length);
    case 'i32':
      return new Int32Array(length);
    case 'bf16':
    case 'f16':
      return new Uint16Array(length);
    default:
      return new Uint8Array(length);
  }
}

/** A typed view of little-endian `bytes` as `dtype`; copies only when the bytes are not aligned. */
export function viewHostArray(dtype: DType, bytes: Uint8Array): HostArray {
  const size = dtypeBytes[dtype];
  if (bytes.byteLength % size !== 0) {
    throw new QuaverError(
      'tensor-byte-length',
      `${bytes.byteLength} bytes are not a whole number of ${dtype} elements`,
      {
        hint: `A ${dtype} element takes ${size} bytes.`,
      },
    );
  }
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const length = aligned.byteLength / size;
  switch (dtype) {
    case 'f32':
      return new Float32Array(aligned.buffer, aligned.byteOffset, length);
    case 'i32':
      return new Int32Array(aligned.buffer, aligned.byteOffset, length);
    case 'bf16':
    case 'f16':
      return new Uint16Array(aligned.buffer, aligned.byteOffset, length);
    default:
      return new Uint8Array(aligned.buffer, aligned.byteOffset, length);
  }
}
