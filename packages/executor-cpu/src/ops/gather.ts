import { dtypeBytes } from '@quaver/ir';
import { formatCode, type KernelFormat } from '../engine/engine.ts';
import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';

/** Copies rows: an embedding table by token ids (axis 0), or one row per batch element (batch_dims 1, axis 1). */
export const gatherKernel: CpuKernel = {
  op: 'gather',
  version: 1,
  supports: ({ attributes: { axis, batch_dims } }) =>
    axis === batch_dims && (axis === 0 || axis === 1)
      ? native
      : refuse('layout', 'rows are gathered along axis 0, or axis 1 of a batch'),
  emit: ({ code, operands, results, attributes }) => {
    const [table, indices] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const axis = attributes.axis as number;
    const { shape, dtype } = table.type;
    const batches = axis === 0 ? 1 : shape[0]!;
    const bound = shape[axis]!;
    const rowBytes = shape.slice(axis + 1).reduce((product, dim) => product * dim, dtypeBytes[dtype]);
    const count = indices.type.shape.reduce((product, dim) => product * dim, 1) / Math.max(1, batches);
    // An embedding that is also the output projection is there once, packed.
    const buffer = axis === 0 && shape.length === 2 && table.buffer?.isParameter ? table.buffer : undefined;
    const packed = buffer?.packedTable(bound, shape[1]!);
    if (packed) {
      const numbers = [1, count, bound, shape[1]!, formatCode[dtype as KernelFormat]];
      code.emit('gather_packed', [code.require(packed), indices.ref(), out.ref()], numbers);
      return;
    }
    const from = buffer ? code.require(buffer.rawForm(), 'table') : table.ref();
    code.emit('gather', [from, indices.ref(), out.ref()], [batches, count, bound, rowBytes]);
  },
};
