import { type CpuKernel, native, type Place, rowCount } from '../kernel.ts';

export const rmsNormKernel: CpuKernel = {
  op: 'rms_norm',
  version: 1,
  supports: () => native,
  steps: ({ kernels, attributes, operands, results }) => {
    const [x, weight] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const rows = rowCount(x.type.shape);
    const n = x.type.shape.at(-1)!;
    const eps = attributes.eps as number;
    return [() => kernels.rmsNorm(x.pointer(), weight.pointer(), out.pointer(), rows, n, eps)];
  },
};
