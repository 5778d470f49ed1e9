import type { NodeView, Support } from '@quaver/executor';
import {
  type CpuKernel,
  type KernelCall,
  native,
  outputRanges,
  type Place,
  refuse,
  rowCount,
  type Step,
  zeroStep,
} from '../kernel.ts';
import { packedWeights, Regions } from '../prepared.ts';

/** Activations [.., K] times weights [N, K], both BF16 or both f32. */
export const dotGeneralKernel: CpuKernel = {
  op: 'dot_general',
  version: 1,
  packedOperand: 1,
  supports,
  steps,
};

function supports({ operands: [lhs, rhs], attributes }: NodeView): Support {
  if (!lhs || !rhs) return refuse('operand-missing', 'an operand is missing');
  if (lhs.dtype !== rhs.dtype || (lhs.dtype !== 'bf16' && lhs.dtype !== 'f32')) {
    return refuse('dtype', 'both operands must be bf16, or both f32');
  }
  const batched = (attributes.lhs_batch as readonly number[]).length > 0;
  const lastAxis = String(attributes.lhs_contract) === String(lhs.shape.length - 1);
  if (batched || !lastAxis || rhs.shape.length !== 2 || String(attributes.rhs_contract) !== '1') {
    return refuse('layout', 'weights must be [N, K], contracted with the last axis, without batch axes');
  }
  return attributes.promote === 128 ? native : refuse('promote', 'promote must be 128');
}

function steps(call: KernelCall): readonly Step[] {
  const [lhs, rhs] = call.operands as readonly [Place, Place];
  const [out] = call.results as readonly [Place];
  const { kernels } = call;
  const [n, k] = rhs.type.shape as readonly [number, number];
  const m = rowCount(lhs.type.shape);
  if (m === 0 || n === 0) return [];
  if (k === 0) return [zeroStep(call)];
  const format = rhs.type.dtype as 'bf16' | 'f32';
  const regions = new Regions(call);
  const scratch = regions.take(kernels.gemmScratchBytes(m, k));
  const packed = packedWeights(call, rhs, format, n, k, regions);
  const multiply = outputRanges(n, 2 * m * k).map(
    ([n0, n1]): Step =>
      () => {
        const shared = {
          a: lhs.pointer(),
          packed: packed.pointer(),
          out: out.pointer(),
          scratch: scratch(),
          m,
          n,
          k,
          n0,
          n1,
        };
        if (format === 'bf16') kernels.gemmBf16(shared);
        else kernels.gemmF32(shared);
      },
  );
  return packed.prepare ? [packed.prepare, ...multiply] : multiply;
}
