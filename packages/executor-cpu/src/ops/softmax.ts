import type { NodeView, Support } from '@quaver/executor';
import { type CpuKernel, native, type Place, refuse, rowCount } from '../kernel.ts';
import type { Kernels } from '../kernels.ts';

function lastAxis({ operands: [x], attributes: { axis } }: NodeView): Support {
  return axis === Number(x?.shape.length) - 1 ? native : refuse('layout', 'only the last axis is normalized');
}

function rows(op: string, method: 'softmax' | 'logSoftmax'): CpuKernel {
  return {
    op,
    version: 1,
    supports: lastAxis,
    steps: ({ kernels, operands, results }) => {
      const [x] = operands as readonly [Place];
      const [out] = results as readonly [Place];
      const count = rowCount(x.type.shape);
      const n = x.type.shape.at(-1)!;
      const run: Kernels['softmax'] = kernels[method].bind(kernels);
      return [() => run(x.pointer(), out.pointer(), count, n)];
    },
  };
}

export const softmaxKernel: CpuKernel = rows('softmax', 'softmax');
export const logSoftmaxKernel: CpuKernel = rows('log_softmax', 'logSoftmax');

export const logSoftmaxGatherKernel: CpuKernel = {
  op: 'log_softmax_gather',
  version: 1,
  supports: () => native,
  steps: ({ kernels, operands, results }) => {
    const [x, targets] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const count = rowCount(x.type.shape);
    const n = x.type.shape.at(-1)!;
    return [() => kernels.logSoftmaxGather(x.pointer(), targets.pointer(), out.pointer(), count, n)];
  },
};
