import type { NodeView, Support } from '@quaver/executor';
import { f8e8m0fnu } from '@quaver/numerics';
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
import type { Fp8Format } from '../kernels.ts';
import { type Prepared, packedWeights, Regions } from '../prepared.ts';

/** One scale covers the whole axis. */
const whole = 0;

/** FP8 activations [.., K] times FP8 weights [N, K], each with scales. */
export const scaledDotKernel: CpuKernel = {
  op: 'scaled_dot',
  version: 1,
  packedOperand: 1,
  supports,
  steps,
};

function supports({ operands: [lhs, rhs, lhsScale, rhsScale], attributes }: NodeView): Support {
  if (!lhs || !rhs) return refuse('operand-missing', 'an operand is missing');
  if (!isFp8(lhs.dtype) || !isFp8(rhs.dtype) || !lhsScale || !rhsScale) {
    return refuse('dtype', 'both operands must be FP8 with scales');
  }
  const rank = lhs.shape.length;
  if (
    String(attributes.lhs_contract) !== String(rank - 1) ||
    String(attributes.rhs_contract) !== '1' ||
    rhs.shape.length !== 2
  ) {
    return refuse('layout', 'weights must be [N, K], contracted with the last axis');
  }
  const lhsBlock = attributes.lhs_block as readonly number[];
  const rhsBlock = attributes.rhs_block as readonly number[];
  const rows = lhsBlock.slice(0, -1);
  const perTensor = lhsBlock.every((size) => size === whole);
  if (!perTensor && !rows.every((size) => size === 1))
    return refuse('granularity', 'scales must be per row or per tensor');
  const k = rhs.shape[1] as number;
  if (kBlock(lhsBlock, k) !== kBlock(rhsBlock, k))
    return refuse('granularity', 'both operands need the same block along K');
  const block = kBlock(lhsBlock, k);
  if (block < k && block % 128 !== 0 && (128 % block !== 0 || block % 4 !== 0)) {
    return refuse('granularity', `a block of ${block} along K`);
  }
  if (attributes.promote !== 128) return refuse('promote', 'promote must be 128');
  return native;
}

function isFp8(dtype: string): dtype is Fp8Format {
  return dtype === 'f8e4m3fn' || dtype === 'f8e5m2';
}

function kBlock(block: readonly number[], k: number): number {
  const size = block.at(-1)!;
  return size === whole ? k : Math.min(size, k);
}

function steps(call: KernelCall): readonly Step[] {
  const [lhs, rhs, lhsScale, rhsScale] = call.operands as readonly Place[];
  const [out] = call.results as readonly [Place];
  const { kernels, attributes } = call;
  const [n, k] = rhs!.type.shape as readonly [number, number];
  const m = rowCount(lhs!.type.shape);
  if (m === 0 || n === 0) return [];
  if (k === 0) return [zeroStep(call)];
  const wFormat = rhs!.type.dtype as Fp8Format;
  const lhsBlock = attributes.lhs_block as readonly number[];
  const blockN = (attributes.rhs_block as readonly number[])[0]!;
  const gemmBytes = kernels.gemmScratchBytes(m, k);
  const regions = new Regions(call);
  const gemm = regions.take(gemmBytes);
  const packed = packedWeights(call, rhs!, wFormat, n, k, regions);
  const aScales = f32Scales(call, lhsScale!, regions);
  const wScales = f32Scales(call, rhsScale!, regions);
  const perTensor = lhsBlock.every((size) => size === whole);
  const prepare = [packed.prepare, aScales.prepare, wScales.prepare].filter((step) => step !== undefined);
  const multiply = outputRanges(n, 2 * m * k).map(
    ([n0, n1]): Step =>
      () =>
        kernels.gemmFp8({
          a: lhs!.pointer(),
          aFormat: lhs!.type.dtype as Fp8Format,
          aScales: aScales.pointer(),
          ...(perTensor ? { aScaleStride: 0 } : {}),
          packed: packed.pointer(),
          wFormat,
          wScales: wScales.pointer(),
          blockK: kBlock(lhsBlock, k),
          blockN: blockN === whole ? n : blockN,
          out: out.pointer(),
          scratch: gemm(),
          m,
          n,
          k,
          n0,
          n1,
        }),
  );
  return [...prepare, ...multiply];
}

/** Scales as f32; E8M0 ones are decoded. */
function f32Scales({ heap }: KernelCall, scales: Place, regions: Regions): Prepared {
  if (scales.type.dtype === 'f32') return { pointer: () => scales.pointer() };
  const count = scales.type.shape.reduce((product, dim) => product * dim, 1);
  const decode = (codes: Uint8Array, target: number) =>
    f8e8m0fnu.decodeInto(codes, new Float32Array(heap.bytes.buffer, target, count));
  const { buffer } = scales;
  if (buffer?.usage === 'parameter') {
    return { pointer: () => buffer.derived('f32', count * 4, (pointer) => decode(buffer.hostBytes!, pointer)) };
  }
  const pointer = regions.take(count * 4);
  return { pointer, prepare: () => decode(heap.view(scales.pointer(), count), pointer()) };
}
