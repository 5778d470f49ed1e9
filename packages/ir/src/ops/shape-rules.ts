import { ceilDivDim, type Dim } from '../dim.ts';
import { typeError } from '../op.ts';
import { formatType, sameType, type TensorType } from '../type.ts';

/** Throws unless `axis` counts an axis of a tensor of this rank from the front. */
export function checkAxis(op: string, attribute: string, axis: number, rank: number): void {
  if (axis >= 0 && axis < rank) return;
  throw typeError(
    op,
    `${attribute} ${axis} is not an axis of a tensor of rank ${rank}`,
    rank === 0 ? 'A scalar has no axes.' : `Axes are 0 to ${rank - 1}; negative ones are not counted from the end.`,
  );
}

/** Throws unless all axes exist and no axis is named twice. */
export function checkAxes(op: string, attribute: string, axes: readonly number[], rank: number): void {
  for (const axis of axes) checkAxis(op, attribute, axis, rank);
  if (new Set(axes).size !== axes.length) throw typeError(op, `${attribute} [${axes.join(',')}] names an axis twice`);
}

/** Throws unless both operands have the same dtype and shape. */
export function checkSameType(
  op: string,
  leftName: string,
  left: TensorType,
  rightName: string,
  right: TensorType,
): void {
  if (sameType(left, right)) return;
  throw typeError(
    op,
    `${leftName} is ${formatType(left)} but ${rightName} is ${formatType(right)}`,
    'Both must have the same type; broadcast or convert one of them first.',
  );
}

/** Throws unless `type` has exactly this shape. */
export function checkShape(op: string, name: string, type: TensorType, expected: readonly Dim[], why: string): void {
  if (type.shape.length === expected.length && expected.every((dim, i) => dim === type.shape[i])) return;
  throw typeError(op, `${name} is ${formatType(type)}, expected shape [${expected.join(',')}]: ${why}`);
}

/** Throws unless there is one target for every row of x. */
export function checkTargets(op: string, x: TensorType, targets: TensorType): void {
  checkAxis(op, 'the last axis of x,', x.shape.length - 1, x.shape.length);
  checkShape(op, 'targets', targets, x.shape.slice(0, -1), 'one target per row of x');
}

/**
 * Shape of the scales of a tensor cut into blocks: ⌈dim / block⌉ per axis. Block 0 is the whole axis and leaves 1;
 * the last block of an axis may be ragged.
 */
export function blockedShape(op: string, attribute: string, shape: readonly Dim[], block: readonly number[]): Dim[] {
  if (block.length !== shape.length) {
    throw typeError(
      op,
      `${attribute} [${block.join(',')}] does not fit a tensor of shape [${shape.join(',')}]`,
      'Give one block size per axis; 0 is the whole axis.',
    );
  }
  return shape.map((dim, i) => {
    const size = block[i]!;
    if (size < 0) throw typeError(op, `${attribute} has the negative size ${size}`, '0 is the whole axis.');
    return size === 0 ? 1 : ceilDivDim(dim, size);
  });
}

/** Throws unless the tensor can be the pages of a cache, [P,S,...]. */
export function checkPages(op: string, cache: TensorType): void {
  if (cache.shape.length >= 2) return;
  throw typeError(op, `cache is ${formatType(cache)}`, 'Its first two axes are pages and the slots of a page.');
}

/** The dimension as a number; throws when it is symbolic. */
export function staticDim(op: string, what: string, dim: Dim): number {
  if (typeof dim === 'number') return dim;
  throw typeError(op, `${what} is ${dim}, which is not known at compile time`, 'This axis must have a static size.');
}

/** Throws unless the number of elements that are added up before they join the result is positive. */
export function checkPromote(op: string, promote: number): void {
  if (promote < 1) throw typeError(op, `promote is ${promote}`, 'Give the length of a partial sum, such as 128.');
}

/** The axes of a tensor of this rank that are in none of the lists, ascending. */
export function freeAxes(rank: number, ...taken: readonly (readonly number[])[]): number[] {
  return Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !taken.some((axes) => axes.includes(axis)));
}
