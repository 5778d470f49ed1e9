import type { NodeView, Support } from '@quaver/executor';
import { concreteElementCount } from '@quaver/ir';
import { f8e4m3fn, f8e5m2, f8e8m0fnu } from '@quaver/numerics';
import { type CpuKernel, type KernelCall, native, type Place, refuse, rowCount, type Step } from '../kernel.ts';
import type { Fp8Format } from '../kernels.ts';

/** Amax, scale and cast of each row in blocks along the last axis; one E8M0 scale per row for KV caches. */
export const dynamicQuantizeKernel: CpuKernel = {
  op: 'dynamic_quantize',
  version: 1,
  supports,
  steps,
};

function supports({ operands: [x], attributes }: NodeView): Support {
  const { to, block, rounding, scale_dtype, max } = attributes;
  const blocks = block as readonly number[];
  if (x?.dtype !== 'f32') return refuse('dtype', 'the input must be f32');
  const format = to === 'f8e4m3fn' ? f8e4m3fn : to === 'f8e5m2' ? f8e5m2 : undefined;
  if (format?.maxFinite !== max) return refuse('max', 'max must be the largest value of the format');
  if (rounding === 'pow2_nearest') return refuse('rounding', 'pow2_nearest has no kernel');
  if (!blocks.slice(0, -1).every((size) => size === 1)) return refuse('granularity', 'blocks must lie in a row');
  if (scale_dtype === 'f32') return native;
  const wholeRow = blocks.at(-1) === 0 || blocks.at(-1) === x.shape.at(-1);
  return wholeRow && rounding === 'pow2_up' ? native : refuse('granularity', 'E8M0 scales are made for whole rows');
}

function steps(call: KernelCall): readonly Step[] {
  const { kernels, attributes, operands, results } = call;
  const [x] = operands as readonly [Place];
  const [codes, scales] = results as readonly [Place, Place];
  const rows = rowCount(x.type.shape);
  const k = x.type.shape.at(-1)!;
  if (rows === 0) return [];
  if (k === 0) return [emptyRowScales(call)];
  const format = attributes.to as Fp8Format;
  if (attributes.scale_dtype === 'f8e8m0fnu') {
    return [() => kernels.quantizeE8m0(format, x.pointer(), codes.pointer(), scales.pointer(), rows, k)];
  }
  const block = (attributes.block as readonly number[]).at(-1) || k;
  const rounding = attributes.rounding as 'none' | 'pow2_up';
  return [() => kernels.quantizeRows(format, x.pointer(), codes.pointer(), scales.pointer(), rows, k, block, rounding)];
}

/** The scale of a row without elements is 1, as of a row of zeros. */
function emptyRowScales({ heap, results }: KernelCall): Step {
  const scales = results[1]!;
  const { type } = scales;
  const count = concreteElementCount(type);
  return () => {
    const at = scales.pointer();
    if (type.dtype === 'f32') new Float32Array(heap.bytes.buffer, at, count).fill(1);
    else heap.view(at, count).fill(f8e8m0fnu.encode(1));
  };
}
