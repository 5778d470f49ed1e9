/** @file A matrix product in instructions: stage the activations, have the weights packed, multiply. */
import { dtypeBytes } from '@quaver/ir';
import type { Ref } from '../code/code-builder.ts';
import { formatCode, type KernelFormat } from '../engine/engine.ts';
import { type KernelCall, type Place, reductionCode } from '../kernel.ts';
import { type MatrixView, matrixView, type ScaleView } from './matrix-view.ts';

/** Scales of one side, in f32. */
export interface SideScales extends ScaleView {
  readonly ref: Ref;
}

export interface Product {
  readonly lhsContract: readonly number[];
  readonly rhsContract: readonly number[];
  readonly lhsScales?: SideScales | undefined;
  readonly rhsScales?: SideScales | undefined;
  /** k-elements that share scales; k or more: all of them. */
  readonly blockK?: number;
}

export function emitProduct(call: KernelCall, product: Product): void {
  const { code, reduction } = call;
  const [lhs, rhs] = call.operands as readonly [Place, Place];
  const [out] = call.results as readonly [Place];
  const a = matrixView(lhs, product.lhsContract);
  const w = matrixView(rhs, product.rhsContract);
  const { k } = a;
  if (a.rows === 0 || w.rows === 0) return;
  // A sum of no products is +0.
  if (k === 0) {
    code.emit('fill', [out.ref()], [a.rows, w.rows, 4, 0]);
    return;
  }
  const aFormat = lhs.type.dtype as KernelFormat;
  const wFormat = rhs.type.dtype as KernelFormat;
  const { rowStride, columnStride } = a;
  const { lhsScales, rhsScales } = product;
  const weights = packed(call, rhs, wFormat, w);
  // One scale for all rows of activations: a stride of 0.
  const scaleStride = lhsScales && lhsScales.blockRows === 1 ? lhsScales.rowStride : 0;
  const rows = rowsAtOnce(code.engine.stagedBytes(aFormat, wFormat, a.rows, k), a.rows);
  for (let first = 0; first < a.rows; first += rows) {
    const m = Math.min(rows, a.rows - first);
    const from = at(lhs.ref(), first * rowStride * dtypeBytes[lhs.type.dtype]);
    const refs = [
      code.staged(lhs, from, { aFormat, wFormat, m, k, rowStride, columnStride }),
      weights,
      at(out.ref(), first * w.rows * 4),
      lhsScales && at(lhsScales.ref, first * scaleStride * 4),
      rhsScales?.ref,
    ];
    code.emit('gemm', refs, [
      reductionCode[reduction],
      formatCode[aFormat],
      formatCode[wFormat],
      m,
      w.rows,
      k,
      w.rows,
      scaleStride,
      lhsScales?.blockStride ?? 0,
      rhsScales?.rowStride ?? 0,
      rhsScales?.blockStride ?? 0,
      rhsScales?.blockRows ?? 1,
      product.blockK ?? k,
    ]);
  }
}

/** Activations are staged in parts of at most so many bytes; rows are computed on their own, so parts change no bit. */
const stagedAtOnce = 64 * 2 ** 20;
const rowGrain = 256;

function rowsAtOnce(stagedBytes: number, rows: number): number {
  if (stagedBytes <= stagedAtOnce) return rows;
  return Math.max(rowGrain, Math.floor((rows * stagedAtOnce) / stagedBytes / rowGrain) * rowGrain);
}

function at({ memory, offset }: Ref, bytes: number): Ref {
  return { memory, offset: offset + bytes };
}

/** Weights in the kernels' layout: a parameter is packed once, a computed value at every run. */
function packed({ code }: KernelCall, weights: Place, format: KernelFormat, view: MatrixView): Ref {
  const { rows: n, k, rowStride, columnStride } = view;
  if (weights.buffer?.isParameter)
    return code.require(weights.buffer.packedForm({ format, n, k, rowStride, columnStride }));
  const target = code.scratch(code.engine.packedBytes(format, n, k));
  code.emit('pack', [weights.ref(), target], [formatCode[format], n, k, rowStride, columnStride]);
  return target;
}
