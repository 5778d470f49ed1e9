import { concreteElementCount } from '@quaver/ir';
import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';

const narrow = ['bf16', 'f8e4m3fn', 'f8e5m2'] as const;
type Narrow = (typeof narrow)[number];

function isNarrow(dtype: string): dtype is Narrow {
  return narrow.some((name) => name === dtype);
}

/** f32 to and from BF16 and FP8. */
export const convertKernel: CpuKernel = {
  op: 'convert',
  version: 1,
  supports: ({ operands: [x], attributes: { to, saturate } }) => {
    const encodes = x?.dtype === 'f32' && isNarrow(to as string) && (to === 'bf16' || saturate === true);
    const decodes = x !== undefined && isNarrow(x.dtype) && to === 'f32';
    return encodes || decodes ? native : refuse('dtype', `no kernel converts ${x?.dtype} to ${String(to)}`);
  },
  steps: ({ kernels, operands, results }) => {
    const [x] = operands as readonly [Place];
    const [y] = results as readonly [Place];
    const count = concreteElementCount(x.type);
    if (y.type.dtype === 'f32') {
      return [() => kernels.decode(x.type.dtype as Narrow, x.pointer(), y.pointer(), count)];
    }
    return [() => kernels.encode(y.type.dtype as Narrow, x.pointer(), y.pointer(), count)];
  },
};
