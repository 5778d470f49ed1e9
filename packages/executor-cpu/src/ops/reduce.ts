import type { NodeView, Support } from '@quaver/executor';
import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';

// The numbers are those of `enum class Reduce` in native/program/ops_reduce.cpp.
const operations = ['sum', 'max', 'min'];

export const reduceKernel: CpuKernel = {
  op: 'reduce',
  version: 1,
  supports,
  emit({ code, attributes, operands, results }) {
    const [x] = operands as readonly [Place];
    const [y] = results as readonly [Place];
    const { shape } = x.type;
    const axes = [...(attributes.axes as readonly number[])].sort((a, b) => a - b);
    const product = (sizes: readonly number[]) => sizes.reduce((total, size) => total * size, 1);
    const [first, last] = [axes[0]!, axes.at(-1)!];
    const sizes = [shape.slice(0, first), shape.slice(first, last + 1), shape.slice(last + 1)].map(product);
    code.emit('reduce', [x.ref(), y.ref()], [operations.indexOf(attributes.kind as string), ...sizes]);
  },
};

function supports({ attributes }: NodeView): Support {
  const axes = [...(attributes.axes as readonly number[])].sort((a, b) => a - b);
  const neighbours = axes.every((axis, i) => i === 0 || axis === axes[i - 1]! + 1);
  return neighbours ? native : refuse('layout', 'axes that are no neighbours');
}
