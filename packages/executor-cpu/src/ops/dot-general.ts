import type { NodeView, Support } from '@quaver/executor';
import { type CpuKernel, native, refuse } from '../kernel.ts';
import { emitBatchedProduct } from './batched-product.ts';
import { emitProduct } from './emit-product.ts';
import { isMatrix } from './matrix-view.ts';
import { mostAxes } from './strided-copy.ts';

const dtypes = ['f32', 'bf16', 'f8e4m3fn', 'f8e5m2'];

/** Products over the first or last axis of each side (activations times weights, and what their gradients need), and of batches. */
export const dotGeneralKernel: CpuKernel = {
  op: 'dot_general',
  version: 1,
  supports,
  emit(call) {
    const { lhs_contract, rhs_contract, lhs_batch } = call.attributes as Readonly<Record<string, readonly number[]>>;
    if (lhs_batch!.length > 0) emitBatchedProduct(call);
    else emitProduct(call, { lhsContract: lhs_contract!, rhsContract: rhs_contract! });
  },
};

function supports({ operands: [lhs, rhs], attributes }: NodeView): Support {
  if (!lhs || !rhs) return refuse('operand-missing', 'an operand is missing');
  if (!dtypes.includes(lhs.dtype) || !dtypes.includes(rhs.dtype)) return refuse('dtype', 'operands of f16');
  const { lhs_contract, rhs_contract, lhs_batch, promote } = attributes as Readonly<Record<string, readonly number[]>>;
  if (Number(promote) !== 128) return refuse('promote', 'promote must be 128');
  if (lhs_batch!.length > 0) {
    const rank = Math.max(lhs.shape.length, rhs.shape.length);
    return rank <= mostAxes ? native : refuse('rank', `more than ${mostAxes} axes`);
  }
  return isMatrix(lhs.shape.length, lhs_contract!) && isMatrix(rhs.shape.length, rhs_contract!)
    ? native
    : refuse('layout', 'the contracted axis must be the first or the last one');
}
