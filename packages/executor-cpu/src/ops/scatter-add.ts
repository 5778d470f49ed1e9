import { type CpuKernel, native, type Place } from '../kernel.ts';

export const scatterAddKernel: CpuKernel = {
  op: 'scatter_add',
  version: 1,
  supports: () => native,
  emit: ({ code, operands, results }) => {
    const [operand, indices, updates] = operands as readonly [Place, Place, Place];
    const [out] = results as readonly [Place];
    const [rows, ...rest] = operand.type.shape as readonly [number, ...number[]];
    const count = indices.type.shape.reduce((product, dim) => product * dim, 1);
    const width = rest.reduce((product, dim) => product * dim, 1);
    code.emit('scatter_add', [operand.ref(), indices.ref(), updates.ref(), out.ref()], [rows, count, width]);
  },
};
