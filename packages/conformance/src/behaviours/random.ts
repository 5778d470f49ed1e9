import { allocateHostArray, concreteElementCount, type DType, type HostTensor } from '@quaver/ir';
import { type FloatFormatName, floatFormats } from '@quaver/numerics';

/** Mulberry32: the same numbers in [0, 1) on every machine. */
function randomSource(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Numbers of several magnitudes in a float format; scales (E8M0) are powers of two, i32 are below `bound`. */
export function randomTensor(seed: number, dtype: DType, shape: readonly number[], bound = 1): HostTensor {
  const random = randomSource(seed);
  const type = { dtype, shape };
  const data = allocateHostArray(dtype, concreteElementCount(type));
  const format = dtype in floatFormats ? floatFormats[dtype as FloatFormatName] : undefined;
  for (let i = 0; i < data.length; i++) {
    if (dtype === 'i32') data[i] = Math.floor(random() * bound);
    else if (dtype === 'f8e8m0fnu') data[i] = 120 + Math.floor(random() * 12);
    else {
      const value = (random() - 0.5) * 2 ** Math.floor(random() * 8 - 4);
      data[i] = format ? format.encode(value) : value;
    }
  }
  return { type, data };
}
