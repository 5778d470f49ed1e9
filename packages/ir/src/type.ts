import { type Dim, type DimBindings, evaluateDim, multiplyDims } from './dim.ts';
import { type DType, dtypeBytes, type HostArray } from './dtype.ts';

/** The type of a value: element type and shape; rank 0 is a scalar. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** A tensor type without symbols. */
export interface ConcreteType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A tensor in host memory, row-major. */
export interface HostTensor {
  readonly type: ConcreteType;
  readonly data: HostArray;
}

export function tensorType(dtype: DType, shape: readonly Dim[]): TensorType {
  return { dtype, shape };
}

export function sameType(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && a.shape.length === b.shape.length && a.shape.every((dim, i) => dim === b.shape[i]);
}

/** `bf16[B,4096]`, as in the text form. */
export function formatType(type: TensorType): string {
  return `${type.dtype}[${type.shape.join(',')}]`;
}

/** Number of elements, as a dimension. */
export function elementCount(type: TensorType): Dim {
  return multiplyDims(...type.shape);
}

/** Number of bytes, as a dimension. */
export function byteCount(type: TensorType): Dim {
  return multiplyDims(dtypeBytes[type.dtype], ...type.shape);
}

export function concreteElementCount(type: ConcreteType): number {
  return type.shape.reduce((product, dim) => product * dim, 1);
}

/** The type with every symbol replaced by its value. */
export function bindType(type: TensorType, bindings: DimBindings): ConcreteType {
  return { dtype: type.dtype, shape: type.shape.map((dim) => evaluateDim(dim, bindings)) };
}
