import { dtypeBytes } from '@quaver/ir';
import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';

/** Writes new rows into the cache along axis 1; rows that would fall outside are dropped. */
export const dynamicUpdateSliceKernel: CpuKernel = {
  op: 'dynamic_update_slice',
  version: 1,
  supports: ({ attributes: { axis } }) => (axis === 1 ? native : refuse('layout', 'only axis 1 is updated in place')),
  steps: ({ operands, results, heap }) => {
    const [operand, update, start] = operands as readonly [Place, Place, Place];
    const [out] = results as readonly [Place];
    const [batch, capacity] = operand.type.shape as readonly [number, number];
    const rows = update.type.shape[1]!;
    const rowBytes = operand.type.shape
      .slice(2)
      .reduce((product, dim) => product * dim, dtypeBytes[operand.type.dtype]);
    return [
      () => {
        const [to, from, source] = [out.pointer(), update.pointer(), operand.pointer()];
        const positions = start.pointer();
        if (to !== source) heap.copy(to, source, batch * capacity * rowBytes);
        const starts = new Int32Array(heap.bytes.buffer, positions, batch);
        for (let b = 0; b < batch; b++) {
          const row = Math.max(0, starts[b]!);
          const skipped = row - starts[b]!;
          const copied = Math.min(rows - skipped, capacity - row);
          if (copied <= 0) continue;
          const begin = from + (b * rows + skipped) * rowBytes;
          heap.copy(to + (b * capacity + row) * rowBytes, begin, copied * rowBytes);
        }
      },
    ];
  },
};
