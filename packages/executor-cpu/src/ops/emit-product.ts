/** @file A matrix product in instructions: stage the activations, have the weights packed, multiply. */
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
  const staged = code.staged(lhs, lhs.ref(), { aFormat, wFormat, m: a.rows, k, rowStride, columnStride });
  const { lhsScales, rhsScales } = product;
  const refs = [staged, packed(call, rhs, wFormat, w), out.ref(), lhsScales?.ref, rhsScales?.ref];
  code.emit('gemm', refs, [
    reductionCode[reduction],
    formatCode[aFormat],
    formatCode[wFormat],
    a.rows,
    w.rows,
    k,
    w.rows,
    // One scale for all rows of activations: a stride of 0.
    lhsScales && lhsScales.blockRows === 1 ? lhsScales.rowStride : 0,
    lhsScales?.blockStride ?? 0,
    rhsScales?.rowStride ?? 0,
    rhsScales?.blockStride ?? 0,
    rhsScales?.blockRows ?? 1,
    product.blockK ?? k,
  ]);
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
