import { QuaverError } from './error.ts';

const LANES = 16;
const partials = new Float32Array(LANES);

/**
 * The project's one order for summing a row of f32: element i is added to partial i mod 16, ascending, partials start
 * at +0, and the 16 partials are combined by the fixed tree i + (i+8), then i + (i+4), i + (i+2), i + (i+1). Every
 * addition is rounded to f32. One 512-bit register, two 256-bit or four 128-bit ones give the same bits.
 *
 * @param x the values; elements `x[start + i·stride]` for i in 0 … length−1 are summed
 * @param length number of elements; 0 gives +0
 * @param stride distance between elements, default 1
 * @throws QuaverError `canonical-sum-range` when an element lies outside `x`
 */
export function canonicalSum(x: Float32Array, start: number, length: number, stride: number = 1): number {
  const last = start + (length - 1) * stride;
  if (length < 0 || (length > 0 && !(start >= 0 && start < x.length && last >= 0 && last < x.length)))
    throw new QuaverError(
      'canonical-sum-range',
      `canonicalSum: expected elements inside 0 … ${x.length - 1}, found start ${start}, length ${length}, stride ${stride}`,
    );
  partials.fill(0);
  for (let i = 0, at = start; i < length; i++, at += stride) partials[i % LANES]! += x[at]!;
  for (let width = LANES / 2; width >= 1; width /= 2)
    for (let i = 0; i < width; i++) partials[i]! += partials[i + width]!;
  return partials[0]!;
}
