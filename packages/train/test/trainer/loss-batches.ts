import type { LossBatch } from '../../src/index.ts';

/** Rows of one sequence each, whose tokens depend on `factor`; every target counts. */
export function batchOf(rows: number, rowTokens: number, factor = 7919): LossBatch {
  const count = rows * rowTokens;
  const integers = (make: (i: number) => number) => Int32Array.from({ length: count }, (_, i) => make(i));
  return {
    ...{ rows, rowTokens },
    tokens: integers((i) => (i * factor) % 301),
    targets: integers((i) => (i * 104_729) % 301),
    mask: new Float32Array(count).fill(1),
    position: integers((i) => i % rowTokens),
    firstKey: integers(() => 0),
  };
}
