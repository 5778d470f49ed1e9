import type { HostTensor } from '@quaver/ir';

/** Token ids as an i32 tensor [rows, columns]; short rows are padded with token 0. */
export function tokenMatrix(rows: readonly (readonly number[])[], columns: number): HostTensor {
  const data = new Int32Array(rows.length * columns);
  for (const [r, row] of rows.entries()) data.set(row.slice(0, columns), r * columns);
  return { type: { dtype: 'i32', shape: [rows.length, columns] }, data };
}

/** One integer per sequence as an i32 tensor [B]. */
export function perSequence(values: readonly number[]): HostTensor {
  return { type: { dtype: 'i32', shape: [values.length] }, data: Int32Array.from(values) };
}

/** Row `row` of an f32 tensor [rows, columns], as a view. */
export function f32Row(tensor: HostTensor, row: number): Float32Array {
  const columns = tensor.type.shape[1]!;
  return (tensor.data as Float32Array).subarray(row * columns, (row + 1) * columns);
}
