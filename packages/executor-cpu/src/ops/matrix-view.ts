/** @file Operands of matrix products as matrices: rows of outputs by the contracted axis, with strides, without a copy. */
import type { Place } from '../kernel.ts';

export interface MatrixView {
  readonly rows: number;
  readonly k: number;
  /** In elements. */
  readonly rowStride: number;
  readonly columnStride: number;
  /** Whether the contracted axis is the last one; else it is the first. */
  readonly contractsLast: boolean;
}

/** Only the first or the last axis is contracted without a copy: the others are then one axis. */
export function isMatrix(rank: number, contract: readonly number[]): boolean {
  return rank >= 1 && contract.length === 1 && (contract[0] === 0 || contract[0] === rank - 1);
}

export function matrixView({ type: { shape } }: Pick<Place, 'type'>, contract: readonly number[]): MatrixView {
  const axis = contract[0]!;
  const k = shape[axis]!;
  const rows = shape.reduce((product, dim, i) => (i === axis ? product : product * dim), 1);
  const contractsLast = axis === shape.length - 1;
  return contractsLast
    ? { rows, k, rowStride: k, columnStride: 1, contractsLast }
    : { rows, k, rowStride: 1, columnStride: rows, contractsLast };
}

/** How scales lie: that of element (row, k) is at row / blockRows · rowStride + k / blockK · blockStride. */
export interface ScaleView {
  readonly rowStride: number;
  readonly blockStride: number;
  readonly blockRows: number;
}

/** Block sizes along the free axes and the contracted one; 0 is the whole axis. */
export function blocksOf(
  block: readonly number[],
  contract: readonly number[],
): { readonly free: readonly number[]; readonly k: number } {
  return { free: block.filter((_, axis) => axis !== contract[0]), k: block[contract[0]!]! };
}

/** True where one number says how the rows share scales: each its own, all of them one, or a block of a single axis. */
export function sharesScales(free: readonly number[]): boolean {
  return free.length <= 1 || free.every((size) => size === 1) || free.every((size) => size === 0);
}

export function scaleView(view: MatrixView, block: readonly number[], contract: readonly number[]): ScaleView {
  const { free, k } = blocksOf(block, contract);
  const whole = free.every((size) => size === 0);
  const blockRows = whole ? Math.max(1, view.rows) : free.length === 1 ? free[0]! : 1;
  const rowBlocks = Math.ceil(view.rows / blockRows);
  const kBlocks = k === 0 ? 1 : Math.ceil(view.k / k);
  return view.contractsLast
    ? { blockRows, rowStride: kBlocks, blockStride: kBlocks === 1 ? 0 : 1 }
    : { blockRows, rowStride: 1, blockStride: kBlocks === 1 ? 0 : rowBlocks };
}
