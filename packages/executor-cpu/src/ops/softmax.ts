import type { NodeView, Support } from '@quaver/executor';
import { type CpuKernel, native, type Place, reductionCode, refuse, rowCount } from '../kernel.ts';

function lastAxis({ operands: [x], attributes: { axis } }: NodeView): Support {
  return axis === Number(x?.shape.length) - 1 ? native : refuse('layout', 'only the last axis is normalized');
}

function rows(op: 'softmax' | 'log_softmax'): CpuKernel {
  return {
    op,
    version: 1,
    supports: lastAxis,
    emit: ({ code, reduction, operands, results }) => {
      const [x] = operands as readonly [Place];
      const [out] = results as readonly [Place];
      const n = x.type.shape.at(-1)!;
      code.emit(op, [x.ref(), out.ref()], [reductionCode[reduction], rowCount(x.type.shape), n]);
    },
  };
}

export const softmaxKernel: CpuKernel = rows('softmax');
export const logSoftmaxKernel: CpuKernel = rows('log_softmax');

export const logSoftmaxGatherKernel: CpuKernel = {
  op: 'log_softmax_gather',
  version: 1,
  supports: () => native,
  emit: ({ code, reduction, operands, results }) => {
    const [x, targets] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const n = x.type.shape.at(-1)!;
    const numbers = [reductionCode[reduction], rowCount(x.type.shape), n];
    code.emit('log_softmax_gather', [x.ref(), targets.ref(), out.ref()], numbers);
  },
};
