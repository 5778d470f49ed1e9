import { dtypeBytes } from '@quaver/ir';
import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';

/** Writes new rows into the cache along axis 1; rows that would fall outside are dropped. */
export const dynamicUpdateSliceKernel: CpuKernel = {
  op: 'dynamic_update_slice',
  version: 1,
  supports: ({ attributes: { axis } }) => (axis === 1 ? native : refuse('layout', 'only axis 1 is updated in place')),
  emit: ({ code, operands, results }) => {
    const [operand, update, start] = operands as readonly [Place, Place, Place];
    const [out] = results as readonly [Place];
    const [batch, capacity] = operand.type.shape as readonly [number, number];
    const rows = update.type.shape[1]!;
    const rowBytes = operand.type.shape
      .slice(2)
      .reduce((product, dim) => product * dim, dtypeBytes[operand.type.dtype]);
    const refs = [operand.ref(), update.ref(), start.ref(), out.ref()];
    code.emit('update_slice', refs, [batch, capacity, rows, rowBytes]);
  },
};
