import { concreteElementCount } from '@quaver/ir';
import { type CpuKernel, native, type Place, refuse, rowCount } from '../kernel.ts';
import type { Kernels } from '../kernels.ts';

type BinaryName = 'add' | 'multiply' | 'swiglu';

/** An op of two f32 tensors of one shape. */
function binary(op: BinaryName): CpuKernel {
  return {
    op,
    version: 1,
    supports: ({ operands: [a] }) => (a?.dtype === 'f32' ? native : refuse('dtype', 'operands must be f32')),
    steps: ({ kernels, operands, results }) => {
      const [a, b] = operands as readonly [Place, Place];
      const [out] = results as readonly [Place];
      const count = concreteElementCount(out.type);
      const run: Kernels[BinaryName] = kernels[op].bind(kernels);
      return [() => run(a.pointer(), b.pointer(), out.pointer(), count)];
    },
  };
}

export const addKernel: CpuKernel = binary('add');
export const multiplyKernel: CpuKernel = binary('multiply');
export const swigluKernel: CpuKernel = binary('swiglu');

export const biasAddKernel: CpuKernel = {
  op: 'bias_add',
  version: 1,
  supports: () => native,
  steps: ({ kernels, operands, results }) => {
    const [x, bias] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const rows = rowCount(x.type.shape);
    const n = x.type.shape.at(-1)!;
    return [() => kernels.addBias(x.pointer(), bias.pointer(), out.pointer(), rows, n)];
  },
};
