import { type CpuKernel, native, type Place, reductionCode, rowCount } from '../kernel.ts';

export const rmsNormKernel: CpuKernel = {
  op: 'rms_norm',
  version: 1,
  supports: () => native,
  emit: ({ code, reduction, attributes, operands, results }) => {
    const [x, weight] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const n = x.type.shape.at(-1)!;
    const numbers = [reductionCode[reduction], rowCount(x.type.shape), n, attributes.eps as number];
    code.emit('rms_norm', [x.ref(), weight.ref(), out.ref()], numbers);
  },
};
