/**
 * @file Places blocks of known sizes and lifetimes in one piece of memory, largest first, each in the lowest gap that it fits
 * (Pisarchyk and Lee, 2020, "Efficient Memory Management for Deep Neural Net Inference", greedy by size).
 */

/** Memory that is used from one instruction to another, both included. */
export interface Lifetime {
  readonly byteLength: number;
  readonly first: number;
  readonly last: number;
}

export interface Packing {
  /** In bytes, one for each block. */
  readonly offsets: readonly number[];
  readonly byteLength: number;
}

/** Blocks that live at the same time do not overlap. The result depends on the order and the numbers alone. */
export function packBlocks(blocks: readonly Lifetime[]): Packing {
  const order = blocks
    .map((_, i) => i)
    .sort((a, b) => blocks[b]!.byteLength - blocks[a]!.byteLength || blocks[a]!.first - blocks[b]!.first || a - b);
  const offsets = blocks.map(() => 0);
  /** Placed blocks by offset. */
  const placed: number[] = [];
  let total = 0;
  for (const i of order) {
    const { byteLength, first, last } = blocks[i]!;
    if (byteLength === 0) continue;
    let offset = 0;
    for (const j of placed) {
      const other = blocks[j]!;
      if (other.first > last || other.last < first) continue;
      if (offsets[j]! >= offset + byteLength) break;
      offset = Math.max(offset, offsets[j]! + other.byteLength);
    }
    offsets[i] = offset;
    placed.splice(insertionPoint(placed, offsets, offset), 0, i);
    total = Math.max(total, offset + byteLength);
  }
  return { offsets, byteLength: total };
}

function insertionPoint(placed: readonly number[], offsets: readonly number[], offset: number): number {
  let [low, high] = [0, placed.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (offsets[placed[middle]!]! <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
