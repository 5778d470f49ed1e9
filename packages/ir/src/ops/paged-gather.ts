import { multiplyDims } from '../dim.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { concreteElementCount } from '../type.ts';
import { allocateLike } from './evaluation/floats.ts';
import { anyDType, i32 } from './operand-specs.ts';
import { checkPages } from './shape-rules.ts';

export const pagedGather: OpDefinition = defineOp('paged_gather', {
  version: 1,
  summary:
    'Lays the pages of every row out one after the other: of cache[P,S,...], element n of row b is slot n mod S of page ' +
    'pages[b, n div S]. A page that is not 0 to P-1 reads as zeros: all bits of its elements are 0.',
  operands: { cache: anyDType, pages: { ...i32, rank: 2 } },
  attributes: {},
  results: ['y'],
  infer({ cache, pages }) {
    checkPages('paged_gather', cache);
    const [, slots, ...rest] = cache.shape;
    const [rows, columns] = pages.shape;
    return [{ dtype: cache.dtype, shape: [rows!, multiplyDims(columns!, slots!), ...rest] }];
  },
  evaluate({ cache, pages }, _, [type]) {
    const [pageCount, ...rest] = cache.type.shape as readonly [number, ...number[]];
    const pageLength = rest.reduce((product, dim) => product * dim, 1);
    const y = allocateLike(type!.dtype, concreteElementCount(type!), cache);
    for (let i = 0; i < pages.data.length; i++) {
      const page = pages.data[i]!;
      if (page < 0 || page >= pageCount) continue;
      y.set(cache.data.subarray(page * pageLength, (page + 1) * pageLength), i * pageLength);
    }
    return [{ type: type!, data: y }];
  },
});
