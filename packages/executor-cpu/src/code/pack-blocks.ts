/**
 * @file Places blocks of known sizes and lifetimes in one piece of memory, largest first, each in the lowest place that is free
 * (Pisarchyk and Lee, 2020, "Efficient Memory Management for Deep Neural Net Inference", greedy by size).
 */

/** Bytes that are used from one instruction to another, both included. */
export interface Lifetime {
  readonly byteLength: number;
  readonly first: number;
  readonly last: number;
}

/** Memory whose size changes while it is used: all of its lifetimes begin at the same address. */
export type Shape = readonly Lifetime[];

export interface Packing {
  /** In bytes, one for each block. */
  readonly offsets: readonly number[];
  readonly byteLength: number;
}

/**
 * Blocks do not overlap while both live. The largest come first, or those whose size changes before all others, whichever takes
 * less. The result depends on the order of the blocks and the numbers alone.
 */
export function packBlocks(blocks: readonly Shape[]): Packing {
  const sizes = blocks.map((shape) => Math.max(...shape.map(({ byteLength }) => byteLength)));
  const bySize = blocks.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  const changes = (i: number) => blocks[i]!.length > 1;
  const changingFirst = [...bySize.filter(changes), ...bySize.filter((i) => !changes(i))];
  const packings = [bySize, changingFirst].map((order) => packInOrder(blocks, sizes, order));
  return packings.reduce((best, packing) => (packing.byteLength < best.byteLength ? packing : best));
}

function packInOrder(blocks: readonly Shape[], sizes: readonly number[], order: readonly number[]): Packing {
  const offsets = blocks.map(() => 0);
  const placed: number[] = [];
  let total = 0;
  for (const i of order) {
    const taken = placed.flatMap((j) => takenBy(blocks[j]!, offsets[j]!, blocks[i]!));
    taken.sort((a, b) => a.from - b.from);
    let offset = 0;
    for (const { from, to } of taken) {
      if (from >= offset) break;
      offset = Math.max(offset, to);
    }
    offsets[i] = offset;
    placed.push(i);
    total = Math.max(total, offset + sizes[i]!);
  }
  return { offsets, byteLength: total };
}

/** Where a block must not begin because of another one: after `from` and before `to`. */
function takenBy(other: Shape, at: number, block: Shape): { readonly from: number; readonly to: number }[] {
  const taken = [];
  for (const theirs of other) {
    for (const own of block) {
      if (theirs.first > own.last || theirs.last < own.first) continue;
      taken.push({ from: at - own.byteLength, to: at + theirs.byteLength });
    }
  }
  return taken;
}
