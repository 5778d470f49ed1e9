import { type ConcreteType, dtypeBytes } from '@quaver/ir';
import type { CodeBuilder, Ref } from '../code/code-builder.ts';

/** Elements along one axis, and how far apart they are in the source and in the target. */
interface Axis {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Axes of one instruction. */
const axesOfOne = 4;

export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let step = 1;
  for (const size of [...shape].reverse()) {
    strides.unshift(step);
    step *= size;
  }
  return strides;
}

/** Copies elements from places that strides say (0 repeats one) to others; offsets and strides count elements. */
export function emitStridedCopy(
  code: CodeBuilder,
  [from, to]: readonly [Ref, Ref],
  { dtype, shape }: ConcreteType,
  strides: { readonly from: readonly number[]; readonly to: readonly number[] },
  offsets: { readonly from: number; readonly to: number } = { from: 0, to: 0 },
): void {
  if (shape.includes(0)) return;
  const axes = merged(shape.map((size, i) => ({ size, from: strides.from[i]!, to: strides.to[i]! })));
  const bytes = dtypeBytes[dtype];
  const emit = (rest: readonly Axis[], start: { from: number; to: number }): void => {
    if (rest.length > axesOfOne) {
      const [first, ...others] = rest as readonly [Axis, ...Axis[]];
      for (let i = 0; i < first.size; i++) {
        emit(others, { from: start.from + i * first.from, to: start.to + i * first.to });
      }
      return;
    }
    // The first axis is what threads share, the last one the innermost loop.
    const one: Axis = { size: 1, from: 0, to: 0 };
    const [first = one, ...others] = rest;
    const four = [first, ...Array.from({ length: axesOfOne - 1 - others.length }, () => one), ...others];
    code.emit(
      'strided_copy',
      [from, to],
      [
        ...[bytes, ...four.map(({ size }) => size), ...four.map((axis) => axis.from), ...four.map((axis) => axis.to)],
        ...[start.from, start.to],
      ],
    );
  };
  emit(axes, offsets);
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
