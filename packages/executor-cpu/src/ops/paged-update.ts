import { dtypeBytes } from '@quaver/ir';
import { type CpuKernel, native, type Place } from '../kernel.ts';

/** Writes new tokens into the pages of a cache; those that have no place there are dropped. */
export const pagedUpdateKernel: CpuKernel = {
  op: 'paged_update',
  version: 1,
  supports: () => native,
  emit: ({ code, operands, results }) => {
    const [cache, update, pages, position] = operands as readonly [Place, Place, Place, Place];
    const [out] = results as readonly [Place];
    const [pageCount, slots, ...rest] = cache.type.shape as readonly [number, number, ...number[]];
    const [rows, tokens] = update.type.shape as readonly [number, number];
    const slotBytes = rest.reduce((product, dim) => product * dim, dtypeBytes[cache.type.dtype]);
    const refs = [cache.ref(), update.ref(), pages.ref(), position.ref(), out.ref()];
    code.emit('update_pages', refs, [pageCount, slots, rows, tokens, pages.type.shape[1]!, slotBytes]);
  },
};
