/**
 * @file Where intermediates, scratch of single nodes and staged activations lie in the arena. Small programs keep the slots of
 * the memory plan; large ones are packed by the instructions that use each piece.
 */
import { type Lifetime, packBlocks } from './pack-blocks.ts';

const alignment = 64;
export const aligned = (byteLength: number): number => Math.ceil(byteLength / alignment) * alignment;

/** A part of the arena where nothing is packed; `outside` counts for nothing, it stands for buffers that are not there. */
export type Area = 'slots' | 'node' | 'staged-0' | 'staged-1' | 'outside';

/** A piece of the arena, whose address is known when all code is there. */
export class Block {
  readonly byteLength: number;
  readonly area: Area;
  /** In the area. */
  readonly areaOffset: number;
  /** The instructions, or host steps, that use it first and last. */
  first: number = Number.POSITIVE_INFINITY;
  last = -1;
  /** In the arena, once all is placed. */
  offset = 0;

  constructor(byteLength: number, area: Area, areaOffset: number) {
    this.byteLength = byteLength;
    this.area = area;
    this.areaOffset = areaOffset;
  }

  use(instruction: number): void {
    this.first = Math.min(this.first, instruction);
    this.last = Math.max(this.last, instruction);
  }
}

/** Instructions from `first` to `last` may write `result` over `operand`, if nobody reads that afterwards. */
export interface InPlace {
  readonly first: number;
  readonly last: number;
  readonly operand: Block;
  readonly result: Block;
}

/**
 * Up to here the slots of the plan are kept: all values of a slot begin at the same address, so threads go from one node to
 * the next with their rows and wait for nobody. In larger programs that does not show, and memory does.
 */
export const keptSlotsBytes: number = 64 * 2 ** 20;

/** Gives every block its offset. @returns the bytes of the arena */
export function layOut(
  blocks: readonly Block[],
  inPlace: readonly InPlace[],
  areaBytes: Readonly<Record<Area, number>>,
): number {
  const { slots, node, 'staged-0': first, 'staged-1': second } = areaBytes;
  const bases: Record<Area, number> = {
    slots: 0,
    node: slots,
    'staged-0': slots + node,
    'staged-1': slots + node + first,
    outside: 0,
  };
  const plain = slots + node + first + second;
  if (plain > keptSlotsBytes) {
    const packed = pack(blocks, inPlace);
    if (packed < plain) return packed;
  }
  for (const block of blocks) block.offset = bases[block.area] + block.areaOffset;
  return plain;
}

/** Blocks that begin at the same address, one written over the other. */
interface Group {
  readonly shape: Lifetime[];
  readonly members: Block[];
}

function pack(blocks: readonly Block[], inPlace: readonly InPlace[]): number {
  const groups = new Map<Block, Group>();
  for (const block of blocks) {
    if (block.last < 0 || block.byteLength === 0 || block.area === 'outside') continue;
    const { first, last } = block;
    groups.set(block, { shape: [{ byteLength: aligned(block.byteLength), first, last }], members: [block] });
  }
  for (const { first, last, operand, result } of inPlace) {
    const [from, to] = [groups.get(operand), groups.get(result)];
    // Nobody uses the one after these instructions, nor the other before them.
    if (!from || !to || from === to || operand.last > last || result.first < first) continue;
    if (operand.byteLength < result.byteLength) continue;
    // One of two operands was written over already by this instruction, or the result is part of something else.
    if (from.members.at(-1) !== operand || to.members.length > 1) continue;
    from.shape.push(...to.shape);
    from.members.push(result);
    groups.set(result, from);
  }
  const found = [...new Set(groups.values())];
  const { offsets, byteLength } = packBlocks(found.map(({ shape }) => shape));
  for (const [i, { members }] of found.entries()) for (const member of members) member.offset = offsets[i]!;
  return byteLength;
}
