import type { NodeView, Support } from '@quaver/executor';
import { concreteElementCount } from '@quaver/ir';
import { f8e4m3fn, f8e5m2, f8e8m0fnu } from '@quaver/numerics';
import { type Fp8Format, formatCode } from '../engine/engine.ts';
import { type CpuKernel, elementRows, type KernelCall, native, type Place, refuse, rowCount } from '../kernel.ts';

/** Amax, scale and cast of each row in blocks along the last axis; scales in f32, or E8M0 rounded up. */
export const dynamicQuantizeKernel: CpuKernel = {
  op: 'dynamic_quantize',
  version: 1,
  supports,
  emit,
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
  return rounding === 'pow2_up' ? native : refuse('rounding', 'E8M0 scales are rounded up');
}

function emit(call: KernelCall): void {
  const { code, attributes, operands, results } = call;
  const [x] = operands as readonly [Place];
  const [codes, scales] = results as readonly [Place, Place];
  const { shape } = x.type;
  const k = shape.at(-1)!;
  if (rowCount(shape) === 0) return;
  if (k === 0) {
    emptyRowScales(call);
    return;
  }
  const format = formatCode[attributes.to as Fp8Format];
  const refs = [x.ref(), codes.ref(), scales.ref()];
  const block = Math.min((attributes.block as readonly number[]).at(-1) || k, k);
  // Several short rows (the heads of a token) are one row for the kernel when blocks do not straddle them.
  const [rows, width] = shape.length > 1 && k % block === 0 ? elementRows(shape) : [rowCount(shape), k];
  if (attributes.scale_dtype === 'f8e8m0fnu') code.emit('quantize_rows_e8m0', refs, [format, rows, width, block]);
  else code.emit('quantize_rows', refs, [format, rows, width, block, attributes.rounding === 'pow2_up' ? 1 : 0]);
}

/** The scale of a row without elements is 1, as of a row of zeros. */
function emptyRowScales({ code, results }: KernelCall): void {
  const { type, ref } = results[1]!;
  const count = concreteElementCount(type);
  const one = type.dtype === 'f32' ? [4, 0x3f800000] : [1, f8e8m0fnu.encode(1)];
  if (count > 0) code.emit('fill', [ref()], [1, count, ...one]);
}
