import { byteLength, type CpuKernel, elementRows, native, type Place } from '../kernel.ts';

/** Row-major data does not change with its shape. */
export const reshapeKernel: CpuKernel = {
  op: 'reshape',
  version: 1,
  supports: () => native,
  emit: ({ code, operands, results }) => {
    const [from] = operands as readonly [Place];
    const [to] = results as readonly [Place];
    const [rows] = elementRows(from.type.shape);
    if (rows > 0) code.emit('copy', [from.ref(), to.ref()], [rows, byteLength(from) / rows]);
  },
};
