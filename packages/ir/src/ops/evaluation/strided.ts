import type { HostArray } from '../../dtype.ts';

/** Distance in elements between neighbours along each axis of a row-major tensor. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis]!;
  }
  return strides;
}

/**
 * Fills a row-major `target` of `shape` from a source that is walked with its own strides (0 repeats an element):
 * transposes, slices and broadcasts are all this copy.
 */
export function copyStrided(
  source: HostArray,
  offset: number,
  strides: readonly number[],
  target: HostArray,
  shape: readonly number[],
): void {
  const merged = mergeAxes(shape, strides);
  const length = merged.shape.pop() ?? 1;
  const step = merged.strides.pop() ?? 1;
  const index = merged.shape.map(() => 0);
  let from = offset;
  for (let at = 0; at < target.length; at += length) {
    copyRun(source, from, step, target, at, length);
    for (let axis = index.length - 1; axis >= 0; axis--) {
      from += merged.strides[axis]!;
      if (++index[axis]! < merged.shape[axis]!) break;
      from -= merged.strides[axis]! * merged.shape[axis]!;
      index[axis] = 0;
    }
  }
}

function copyRun(source: HostArray, from: number, step: number, target: HostArray, at: number, length: number): void {
  if (step === 0) target.fill(source[from]!, at, at + length);
  else if (step === 1 && length > 16) target.set(source.subarray(from, from + length), at);
  else for (let i = 0, j = from; i < length; i++, j += step) target[at + i] = source[j]!;
}

/** Joins neighbouring axes that one stride can walk, so that the innermost run is as long as possible. */
function mergeAxes(shape: readonly number[], strides: readonly number[]): { shape: number[]; strides: number[] } {
  const merged = { shape: [] as number[], strides: [] as number[] };
  shape.forEach((dim, axis) => {
    if (dim === 1) return;
    const last = merged.shape.length - 1;
    if (last >= 0 && merged.strides[last] === strides[axis]! * dim) {
      merged.shape[last]! *= dim;
      merged.strides[last] = strides[axis]!;
    } else {
      merged.shape.push(dim);
      merged.strides.push(strides[axis]!);
    }
  });
  return merged;
}
