/** Element types that a checkpoint tensor is handed out in. Names follow the graph IR: `f8e4m3fn` is OCP E4M3, `f8e8m0fnu` a power of two. */
export type TensorDType =
  | 'f64'
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'f8e4m3fn'
  | 'f8e5m2'
  | 'f8e8m0fnu'
  | 'f8e4m3fnuz'
  | 'f8e5m2fnuz'
  | 'i64'
  | 'i32'
  | 'i16'
  | 'i8'
  | 'u64'
  | 'u32'
  | 'u16'
  | 'u8'
  | 'bool';

/** Bytes per element of each dtype; `bool` is one byte, 0 or 1. */
export const tensorDTypeBytes: Readonly<Record<TensorDType, 1 | 2 | 4 | 8>> = {
  f64: 8,
  f32: 4,
  f16: 2,
  bf16: 2,
  f8e4m3fn: 1,
  f8e5m2: 1,
  f8e8m0fnu: 1,
  f8e4m3fnuz: 1,
  f8e5m2fnuz: 1,
  i64: 8,
  i32: 4,
  i16: 2,
  i8: 1,
  u64: 8,
  u32: 4,
  u16: 2,
  u8: 1,
  bool: 1,
};

/**
 * Number of elements of `shape` (1 for a scalar), or `undefined` when a dimension is no whole number ≥ 0 or the
 * product is beyond the integers that a double holds exactly.
 */
export function elementCount(shape: readonly number[]): number | undefined {
  let count = 1;
  let empty = false;
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) return undefined;
    if (dimension === 0) empty = true;
    else count *= dimension;
    if (!Number.isSafeInteger(count)) return undefined;
  }
  return empty ? 0 : count;
}

/** `[2, 3]` as people read it in an error. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
