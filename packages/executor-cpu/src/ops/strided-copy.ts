import { type ConcreteType, dtypeBytes } from '@quaver/ir';
import type { CodeBuilder, Ref } from '../code/code-builder.ts';
import { elementRows } from '../kernel.ts';

/** Elements along one axis, and how far apart they are in the source and in the target. */
interface Axis {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Axes of the instruction `strided_copy`. */
export const mostAxes = 6;

export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let step = 1;
  for (const size of [...shape].reverse()) {
    strides.unshift(step);
    step *= size;
  }
  return strides;
}

/** Copies elements, of at most `mostAxes` axes, from places that strides say (0 repeats one) to others; all in elements. */
export function emitStridedCopy(
  code: CodeBuilder,
  [from, to]: readonly [Ref, Ref],
  { dtype, shape }: ConcreteType,
  strides: { readonly from: readonly number[]; readonly to: readonly number[] },
  first: { readonly from: number; readonly to: number } = { from: 0, to: 0 },
): void {
  if (shape.includes(0)) return;
  const one: Axis = { size: 1, from: 0, to: 0 };
  // The first axis is what threads share out, the last one the innermost loop.
  const walked = merged(shape.map((size, i) => ({ size, from: strides.from[i]!, to: strides.to[i]! })));
  const [outermost = one, ...inner] = walked.length === 1 ? inRows(walked[0]!) : walked;
  const axes = [outermost, ...Array.from({ length: mostAxes - 1 - inner.length }, () => one), ...inner];
  const sizes = axes.map(({ size }) => size);
  const steps = [...axes.map((axis) => axis.from), ...axes.map((axis) => axis.to)];
  code.emit('strided_copy', [from, to], [dtypeBytes[dtype], ...sizes, ...steps, first.from, first.to]);
}

/** One long axis as rows and what is in them: a unit of work is not one element. */
function inRows({ size, from, to }: Axis): readonly Axis[] {
  const [rows, width] = elementRows([size]);
  return [
    { size: rows, from: from * width, to: to * width },
    { size: width, from, to },
  ];
}

/** Joins neighbours that one stride can walk in both. */
function merged(axes: readonly Axis[]): Axis[] {
  const found: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const last = found.at(-1);
    if (last && last.from === axis.from * axis.size && last.to === axis.to * axis.size) {
      found[found.length - 1] = { size: last.size * axis.size, from: axis.from, to: axis.to };
    } else found.push(axis);
  }
  return found;
}
