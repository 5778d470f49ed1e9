/**
 * @file The canonical dot product: per output element one f32 accumulator, k ascending, a fresh one every `segment`
 * elements; a finished partial sum is multiplied by its scales, if any, and added to the output. Four outputs are
 * computed side by side so that their additions overlap; no output's order depends on that.
 */
import type { Floats } from './floats.ts';
import type { PackedRows } from './pack-rows.ts';

/** Scales by row and segment, `[rows][segments]`; a missing side is 1. */
export interface DotScales {
  readonly left: Floats | undefined;
  readonly right: Floats | undefined;
}

const fround = Math.fround;

/** Writes the `[left.rows][right.rows]` products of one batch to their place in `y`. */
export function canonicalDot(
  left: PackedRows,
  right: PackedRows,
  batch: number,
  segment: number,
  scales: DotScales | undefined,
  y: Floats,
): void {
  const { rows, k } = left;
  const columns = right.rows;
  const a = left.data;
  const b = right.data;
  if (!(a instanceof Float32Array && b instanceof Float32Array)) {
    realDot(left, right, batch, segment, scales, y);
    return;
  }
  const rightBase = batch * columns * k;
  const base = batch * rows * columns;
  const segments = Math.ceil(k / segment);
  const scaled = scales?.left !== undefined || scales?.right !== undefined;
  for (let row = 0; row < rows; row++) {
    const aRow = (batch * rows + row) * k;
    const out = base + row * columns;
    let column = 0;
    for (; column + 4 <= columns; column += 4) {
      const b0 = rightBase + column * k;
      for (let s = 0; s < segments; s++) {
        dotOfFour(a, aRow, b, b0, k, s * segment, Math.min(k, (s + 1) * segment));
        for (let i = 0; i < 4; i++) {
          const sum = scaled ? four[i]! * scaleOf(scales!, row, column + i, s, segments) : four[i]!;
          y[out + column + i]! += fround(sum);
        }
      }
    }
    for (; column < columns; column++) {
      const b0 = rightBase + column * k;
      for (let s = 0; s < segments; s++) {
        const sum = dotOfOne(a, aRow, b, b0, s * segment, Math.min(k, (s + 1) * segment));
        y[out + column]! += scaled ? fround(sum * scaleOf(scales!, row, column, s, segments)) : sum;
      }
    }
  }
}

/** The same of real numbers: nothing is rounded to f32. */
function realDot(
  { data: a, rows, k }: PackedRows,
  { data: b, rows: columns }: PackedRows,
  batch: number,
  segment: number,
  scales: DotScales | undefined,
  y: Floats,
): void {
  const segments = Math.ceil(k / segment);
  const factor = (scale: Floats | undefined, row: number, s: number) => scale?.[row * segments + s] ?? 1;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let i = 0; i < k; i++) {
        const s = Math.floor(i / segment);
        const scale = factor(scales?.left, row, s) * factor(scales?.right, column, s);
        sum += scale * a[(batch * rows + row) * k + i]! * b[(batch * columns + column) * k + i]!;
      }
      y[(batch * rows + row) * columns + column] = sum;
    }
  }
}

function scaleOf(scales: DotScales, row: number, column: number, segment: number, segments: number): number {
  const left = scales.left === undefined ? 1 : scales.left[row * segments + segment]!;
  const right = scales.right === undefined ? 1 : scales.right[column * segments + segment]!;
  return fround(left * right);
}

const four = new Float32Array(4);

/** Partial sums over k in [from, to) of one row of `a` with four consecutive rows of `b`, into {@link four}. */
function dotOfFour(
  a: Float32Array,
  aRow: number,
  b: Float32Array,
  bRow: number,
  k: number,
  from: number,
  to: number,
): void {
  let sum0 = fround(0);
  let sum1 = fround(0);
  let sum2 = fround(0);
  let sum3 = fround(0);
  const b1 = bRow + k;
  const b2 = b1 + k;
  const b3 = b2 + k;
  for (let i = from; i < to; i++) {
    const x = a[aRow + i]!;
    sum0 = fround(sum0 + fround(x * b[bRow + i]!));
    sum1 = fround(sum1 + fround(x * b[b1 + i]!));
    sum2 = fround(sum2 + fround(x * b[b2 + i]!));
    sum3 = fround(sum3 + fround(x * b[b3 + i]!));
  }
  four[0] = sum0;
  four[1] = sum1;
  four[2] = sum2;
  four[3] = sum3;
}

function dotOfOne(a: Float32Array, aRow: number, b: Float32Array, bRow: number, from: number, to: number): number {
  let sum = fround(0);
  for (let i = from; i < to; i++) sum = fround(sum + fround(a[aRow + i]! * b[bRow + i]!));
  return sum;
}
