import type { NodeView, Support } from '@quaver/executor';
import { type CpuKernel, native, refuse } from '../kernel.ts';
import { emitProduct } from './emit-product.ts';
import { isMatrix } from './matrix-view.ts';

const dtypes = ['f32', 'bf16', 'f8e4m3fn', 'f8e5m2'];

/** Products over the first or last axis of each side: activations times weights, and what their gradients need. */
export const dotGeneralKernel: CpuKernel = {
  op: 'dot_general',
  version: 1,
  supports,
  emit: (call) =>
    emitProduct(call, {
      lhsContract: call.attributes.lhs_contract as readonly number[],
      rhsContract: call.attributes.rhs_contract as readonly number[],
    }),
};

function supports({ operands: [lhs, rhs], attributes }: NodeView): Support {
  if (!lhs || !rhs) return refuse('operand-missing', 'an operand is missing');
  if (!dtypes.includes(lhs.dtype) || !dtypes.includes(rhs.dtype)) return refuse('dtype', 'operands of f16');
  const { lhs_contract, rhs_contract, lhs_batch, promote } = attributes as Readonly<Record<string, readonly number[]>>;
  if (lhs_batch!.length > 0) return refuse('layout', 'products with batch axes');
  if (!isMatrix(lhs.shape.length, lhs_contract!) || !isMatrix(rhs.shape.length, rhs_contract!)) {
    return refuse('layout', 'the contracted axis must be the first or the last one');
  }
  return Number(promote) === 128 ? native : refuse('promote', 'promote must be 128');
}
