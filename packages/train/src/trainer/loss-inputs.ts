import type { HostTensor } from '@quaver/ir';
import type { Batch } from '../data/batch.ts';

/** Rows of tokens that count in the loss as their mask says. */
export interface LossBatch
  extends Pick<Batch, 'rows' | 'rowTokens' | 'tokens' | 'targets' | 'mask' | 'position' | 'firstKey'> {
  /** The objective's own inputs, [rows, rowTokens] each. */
  readonly inputs?: Readonly<Record<string, Float32Array>>;
}

/** How much the targets of a batch count for together. */
export function weightOf({ mask }: LossBatch): number {
  return mask.reduce((sum, weight) => sum + weight, 0);
}

/** The inputs of the functions `loss` and `backward`, with the mask divided by `total`. */
export function lossInputs(batch: LossBatch, total: number): Record<string, HostTensor> {
  const shape = [batch.rows, batch.rowTokens];
  const integers = (data: Int32Array): HostTensor => ({ type: { dtype: 'i32', shape }, data });
  const floats = (data: Float32Array): HostTensor => ({ type: { dtype: 'f32', shape }, data });
  return {
    tokens: integers(batch.tokens),
    targets: integers(batch.targets),
    weights: floats(total === 1 ? batch.mask : batch.mask.map((weight) => weight / total)),
    position: integers(batch.position),
    first_key: integers(batch.firstKey),
    ...Object.fromEntries(Object.entries(batch.inputs ?? {}).map(([name, data]) => [name, floats(data)])),
  };
}
