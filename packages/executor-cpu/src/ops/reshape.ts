import { concreteElementCount, dtypeBytes } from '@quaver/ir';
import { type CpuKernel, native, type Place } from '../kernel.ts';

/** Row-major data does not change with its shape. */
export const reshapeKernel: CpuKernel = {
  op: 'reshape',
  version: 1,
  supports: () => native,
  steps: ({ operands, results, heap }) => {
    const [from] = operands as readonly [Place];
    const [to] = results as readonly [Place];
    const byteLength = concreteElementCount(from.type) * dtypeBytes[from.type.dtype];
    return [() => heap.copy(to.pointer(), from.pointer(), byteLength)];
  },
};
