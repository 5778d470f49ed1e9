import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { formatType } from '../type.ts';
import { allocateLike } from './evaluation/floats.ts';
import { anyDType, i32 } from './operand-specs.ts';
import { checkPages, checkShape } from './shape-rules.ts';

export const pagedUpdate: OpDefinition = defineOp('paged_update', {
  version: 1,
  summary:
    'Writes update[B,T,...] into a copy of cache[P,S,...], P pages of S slots: token t of row b is for the place ' +
    'n = position[b] + t of the row, slot n mod S of page pages[b, n div S]. A place that is negative or beyond the pages of ' +
    'the row is dropped, as is one whose page is not 0 to P-1. Of two tokens for one slot the later stays, rows before tokens.',
  operands: { cache: anyDType, update: anyDType, pages: { ...i32, rank: 2 }, position: { ...i32, rank: 1 } },
  attributes: {},
  results: ['y'],
  infer({ cache, update, pages, position }) {
    checkPages('paged_update', cache);
    const rest = cache.shape.slice(2);
    const fits =
      cache.dtype === update.dtype &&
      update.shape.length === cache.shape.length &&
      rest.every((dim, i) => dim === update.shape[i + 2]);
    if (!fits) {
      throw typeError(
        'paged_update',
        `update is ${formatType(update)} but cache is ${formatType(cache)}`,
        'They may differ in their first two axes only: rows and tokens, pages and slots.',
      );
    }
    const [rows] = update.shape;
    checkShape('paged_update', 'pages', pages, [rows!, pages.shape[1]!], 'the pages of every row');
    checkShape('paged_update', 'position', position, [rows!], 'the place of the first token of every row');
    return [cache];
  },
  evaluate({ cache, update, pages, position }) {
    const [pageCount, slots, ...rest] = cache.type.shape as readonly [number, number, ...number[]];
    const [rows, tokens] = update.type.shape as readonly [number, number];
    const tablePages = pages.type.shape[1]!;
    const inner = rest.reduce((product, dim) => product * dim, 1);
    const y = allocateLike(cache.type.dtype, cache.data.length, cache, update);
    y.set(cache.data);
    for (let b = 0; b < rows; b++) {
      for (let t = 0; t < tokens; t++) {
        const place = position.data[b]! + t;
        if (place < 0 || place >= tablePages * slots) continue;
        const page = pages.data[b * tablePages + Math.floor(place / slots)]!;
        if (page < 0 || page >= pageCount) continue;
        const from = (b * tokens + t) * inner;
        y.set(update.data.subarray(from, from + inner), (page * slots + (place % slots)) * inner);
      }
    }
    return [{ type: cache.type, data: y }];
  },
});
