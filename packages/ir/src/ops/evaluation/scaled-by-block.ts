import type { HostTensor } from '../../type.ts';
import { forEachBlockRun } from './block-runs.ts';
import { allocateFloats, type Floats, floatsOf } from './floats.ts';

/** x / scale of its block: one f32 division each. */
export function scaledByBlock(x: HostTensor, scale: HostTensor, block: readonly number[]): Floats {
  const values = floatsOf(x);
  const scales = floatsOf(scale);
  const scaled = allocateFloats(values.length, values);
  forEachBlockRun(x.type.shape, block, (start, length, index) => {
    const divisor = scales[index]!;
    for (let i = start; i < start + length; i++) scaled[i] = values[i]! / divisor;
  });
  return scaled;
}
