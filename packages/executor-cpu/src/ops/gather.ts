import { dtypeBytes } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';

/** Copies rows: an embedding table by token ids (axis 0), or one row per batch element (batch_dims 1, axis 1). */
export const gatherKernel: CpuKernel = {
  op: 'gather',
  version: 1,
  supports: ({ attributes: { axis, batch_dims } }) =>
    axis === batch_dims && (axis === 0 || axis === 1)
      ? native
      : refuse('layout', 'rows are gathered along axis 0, or axis 1 of a batch'),
  steps: ({ operands, results, attributes, heap }) => {
    const [table, indices] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const axis = attributes.axis as number;
    const batches = axis === 0 ? 1 : table.type.shape[0]!;
    const bound = table.type.shape[axis]!;
    const rowBytes = table.type.shape
      .slice(axis + 1)
      .reduce((product, dim) => product * dim, dtypeBytes[table.type.dtype]);
    const count = indices.type.shape.reduce((product, dim) => product * dim, 1) / Math.max(1, batches);
    return [
      () => {
        const host = table.buffer?.hostBytes;
        const base = host ? 0 : table.pointer();
        const [from, to] = [indices.pointer(), out.pointer()];
        const { bytes } = heap;
        const ids = new Int32Array(bytes.buffer, from, batches * count);
        const source = host ?? bytes;
        for (let i = 0; i < ids.length; i++) {
          const id = ids[i]!;
          if (!(id >= 0 && id < bound)) {
            throw new QuaverError('gather-index', `index ${id} at ${i} is outside of [0, ${bound})`, {
              hint: 'Token ids must be smaller than the vocabulary.',
            });
          }
          const row = base + (Math.floor(i / Math.max(1, count)) * bound + id) * rowBytes;
          bytes.set(source.subarray(row, row + rowBytes), to + i * rowBytes);
        }
      },
    ];
  },
};
