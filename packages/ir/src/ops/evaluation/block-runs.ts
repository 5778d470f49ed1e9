import { rowMajorStrides } from './strided.ts';

/**
 * Visits a row-major tensor in contiguous runs that lie in one block each.
 * @param block block size per axis; 0 is the whole axis
 * @param visit called with the first element, the number of elements and the row-major index of the block
 */
export function forEachBlockRun(
  shape: readonly number[],
  block: readonly number[],
  visit: (start: number, length: number, blockIndex: number) => void,
): void {
  const count = shape.reduce((product, dim) => product * dim, 1);
  if (count === 0) return;
  const width = shape.at(-1) ?? 1;
  const runLength = block.at(-1) || width;
  const blockStrides = rowMajorStrides(blockCounts(shape, block));
  const outer = shape.slice(0, -1);
  const index = outer.map(() => 0);
  for (let row = 0; row < count; row += width) {
    let blockIndex = 0;
    for (let axis = 0; axis < outer.length; axis++) {
      if (block[axis] !== 0) blockIndex += Math.floor(index[axis]! / block[axis]!) * blockStrides[axis]!;
    }
    for (let from = 0; from < width; from += runLength) {
      visit(row + from, Math.min(runLength, width - from), blockIndex++);
    }
    for (let axis = outer.length - 1; axis >= 0 && ++index[axis]! === outer[axis]; axis--) index[axis] = 0;
  }
}

/** Number of blocks per axis. */
export function blockCounts(shape: readonly number[], block: readonly number[]): number[] {
  return shape.map((dim, axis) => (block[axis] === 0 ? 1 : Math.ceil(dim / block[axis]!)));
}
