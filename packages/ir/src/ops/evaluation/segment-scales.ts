import type { HostTensor } from '../../type.ts';
import { blockCounts } from './block-runs.ts';
import { allocateFloats, type Floats, floatsOf } from './floats.ts';
import { rowMajorStrides } from './strided.ts';

/**
 * The scale of every row and k segment of a dot operand, `[rows][segments]`: blocks along the free axes are repeated
 * for each row, blocks along k for each segment that lies in them.
 */
export function segmentScales(
  scale: HostTensor,
  block: readonly number[],
  shape: readonly number[],
  contract: number,
  segment: number,
): Floats {
  const values = floatsOf(scale);
  const strides = rowMajorStrides(blockCounts(shape, block));
  const free = shape.map((_, axis) => axis).filter((axis) => axis !== contract);
  const rows = free.reduce((product, axis) => product * shape[axis]!, 1);
  const segments = Math.ceil(shape[contract]! / segment);
  const result = allocateFloats(rows * segments, scale);
  const kBlock = block[contract]!;
  for (let row = 0; row < rows; row++) {
    let base = 0;
    let rest = row;
    for (let i = free.length - 1; i >= 0; i--) {
      const axis = free[i]!;
      const index = rest % shape[axis]!;
      rest = (rest - index) / shape[axis]!;
      if (block[axis] !== 0) base += Math.floor(index / block[axis]!) * strides[axis]!;
    }
    for (let s = 0; s < segments; s++) {
      const kIndex = kBlock === 0 ? 0 : Math.floor((s * segment) / kBlock);
      result[row * segments + s] = values[base + kIndex * strides[contract]!]!;
    }
  }
  return result;
}
