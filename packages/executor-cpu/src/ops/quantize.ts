/** @file Largest magnitudes, scales and casts of blocks, each an op of its own: what fused kernels do not take. */
import type { NodeView, Support } from '@quaver/executor';
import { concreteElementCount } from '@quaver/ir';
import type { Ref } from '../code/code-builder.ts';
import { type Fp8Format, formatCode } from '../engine/engine.ts';
import { type CpuKernel, elementRows, type KernelCall, native, type Place, refuse } from '../kernel.ts';

/** A tensor as rows by its last axis, whose blocks are whole rows by columns; at least one of each. */
interface Blocks {
  readonly rows: number;
  readonly n: number;
  readonly blockRows: number;
  readonly blockColumns: number;
}

function blocksOf({ type: { shape } }: Place, block: readonly number[]): Blocks {
  const n = shape.at(-1) ?? 1;
  const leading = shape.slice(0, -1);
  const rows = leading.reduce((product, dim) => product * dim, 1);
  const sizes = leading.map((dim, axis) => (block[axis] === 0 ? dim : Math.min(block[axis]!, dim)));
  const blockRows = sizes.reduce((product, size) => product * size, 1);
  return { rows, n, blockRows: Math.max(1, blockRows), blockColumns: Math.max(1, block.at(-1) || n) };
}

/** Rows of a block must be neighbours: single ones, all of some last axes, or blocks of an only axis. */
function supportsBlocks({ attributes }: NodeView): Support {
  const leading = (attributes.block as readonly number[]).slice(0, -1);
  const whole = leading.indexOf(0);
  const outer = whole < 0 ? leading : leading.slice(0, whole);
  const inner = leading.slice(outer.length);
  const areRows = outer.every((size) => size === 1) && inner.every((size) => size === 0);
  return areRows || leading.length === 1 ? native : refuse('granularity', 'blocks of rows that are no neighbours');
}

/** A BF16 tensor in f32, in scratch. */
function wide({ code }: KernelCall, x: Place): Ref {
  if (x.type.dtype === 'f32') return x.ref();
  const decoded = code.scratch(4 * concreteElementCount(x.type));
  code.emit('decode', [x.ref(), decoded], [formatCode.bf16, ...elementRows(x.type.shape)]);
  return decoded;
}

/** E8M0 scales in f32, in scratch. */
function wideScales({ code }: KernelCall, scale: Place): Ref {
  if (scale.type.dtype === 'f32') return scale.ref();
  const count = concreteElementCount(scale.type);
  const decoded = code.scratch(4 * count);
  code.emit('decode_e8m0', [scale.ref(), decoded], [count]);
  return decoded;
}

export const amaxKernel: CpuKernel = {
  op: 'amax',
  version: 1,
  supports: supportsBlocks,
  emit(call) {
    const { code, attributes } = call;
    const [x] = call.operands as readonly [Place];
    const [out] = call.results as readonly [Place];
    const { rows, n, blockRows, blockColumns } = blocksOf(x, attributes.block as readonly number[]);
    if (rows * n === 0) {
      // The largest of no magnitudes is 0.
      code.emit('fill', [out.ref()], [1, concreteElementCount(out.type), 4, 0]);
      return;
    }
    if (rows === 1 || blockRows < rows || blockColumns < n) {
      code.emit('amax_by', [wide(call, x), out.ref()], [rows, n, blockRows, blockColumns]);
      return;
    }
    // Of everything: threads share the rows, and one looks at what they found.
    const largest = code.scratch(4 * rows);
    code.emit('amax_by', [wide(call, x), largest], [rows, n, 1, n]);
    code.emit('amax_by', [largest, out.ref()], [1, rows, 1, rows]);
  },
};

// The numbers are those of the instruction.
const roundings = ['none', 'pow2_up', 'pow2_nearest'];

export const computeScaleKernel: CpuKernel = {
  op: 'compute_scale',
  version: 1,
  supports: () => native,
  emit({ code, attributes, operands, results }) {
    const [largest] = operands as readonly [Place];
    const [scale] = results as readonly [Place];
    const rounding = roundings.indexOf(attributes.rounding as string);
    const numbers = [concreteElementCount(scale.type), attributes.max as number, rounding];
    code.emit('compute_scale', [largest.ref(), scale.ref()], [...numbers, attributes.to === 'f32' ? 0 : 1]);
  },
};

/** What `quantize_by` and `dequantize_by` are told of the format and the blocks. */
function byNumbers(format: string, { rows, n, blockRows, blockColumns }: Blocks): number[] {
  return [formatCode[format as Fp8Format], rows, n, Math.ceil(n / blockColumns), blockRows, blockColumns];
}

export const quantizeKernel: CpuKernel = {
  op: 'quantize',
  version: 1,
  supports: supportsBlocks,
  emit(call) {
    const { code, attributes } = call;
    const [x, scale] = call.operands as readonly [Place, Place];
    const [q] = call.results as readonly [Place];
    if (q.type.shape.includes(0)) return;
    const numbers = byNumbers(q.type.dtype, blocksOf(x, attributes.block as readonly number[]));
    const refs = [wide(call, x), wideScales(call, scale), q.ref()];
    code.emit('quantize_by', refs, [...numbers, attributes.saturate ? 1 : 0]);
  },
};

export const dequantizeKernel: CpuKernel = {
  op: 'dequantize',
  version: 1,
  supports: supportsBlocks,
  emit(call) {
    const { code, attributes } = call;
    const [q, scale] = call.operands as readonly [Place, Place];
    const [x] = call.results as readonly [Place];
    if (x.type.shape.includes(0)) return;
    const numbers = byNumbers(q.type.dtype, blocksOf(q, attributes.block as readonly number[]));
    const isWide = x.type.dtype === 'f32';
    const decoded = isWide ? x.ref() : code.scratch(4 * concreteElementCount(x.type));
    code.emit('dequantize_by', [q.ref(), wideScales(call, scale), decoded], numbers);
    if (!isWide) code.emit('encode', [decoded, x.ref()], [formatCode.bf16, ...elementRows(x.type.shape), 1]);
  },
};
