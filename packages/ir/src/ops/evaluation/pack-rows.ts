import { BF16_OPERAND_MIN } from '@quaver/numerics';
import type { HostTensor } from '../../type.ts';
import { allocateFloats, type Floats, floatsOf } from './floats.ts';
import { copyStrided, rowMajorStrides } from './strided.ts';

/** A dot operand as f32, `[batches][rows][k]`, with k contiguous. Free axes are flattened into rows in their order. */
export interface PackedRows {
  readonly data: Floats;
  readonly batches: number;
  readonly rows: number;
  readonly k: number;
}

/** Decodes an operand, flushes tiny bf16 magnitudes, and moves batch axes first and the contracted axis last. */
export function packRows(operand: HostTensor, batch: readonly number[], contract: number): PackedRows {
  const { dtype, shape } = operand.type;
  const free = shape.map((_, axis) => axis).filter((axis) => axis !== contract && !batch.includes(axis));
  const order = [...batch, ...free, contract];
  const product = (axes: readonly number[]) => axes.reduce((total, axis) => total * shape[axis]!, 1);
  const size = { batches: product(batch), rows: product(free), k: shape[contract]! };
  const values = floatsOf(operand);
  if (dtype === 'bf16' && values instanceof Float32Array) flushTiny(values);
  if (order.every((axis, i) => axis === i)) return { data: values, ...size };
  const data = allocateFloats(values.length, values);
  const strides = rowMajorStrides(shape);
  copyStrided(
    values,
    0,
    order.map((axis) => strides[axis]!),
    data,
    order.map((axis) => shape[axis]!),
  );
  return { data, ...size };
}

/** `flushBf16Operand` for a whole array, in place: the array is a fresh decoding. */
function flushTiny(values: Float32Array): void {
  for (let i = 0; i < values.length; i++) if (Math.abs(values[i]!) < BF16_OPERAND_MIN) values[i] = 0;
}
