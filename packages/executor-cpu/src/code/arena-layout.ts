/**
 * @file Where intermediates, scratch of single nodes and staged activations lie in the arena. Small programs keep the slots of
 * the memory plan; large ones are packed by the instructions that use each piece.
 */
import { packBlocks } from './pack-blocks.ts';

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

/** An instruction may write `result` over `operand`, if nobody reads that afterwards. */
export interface InPlace {
  readonly instruction: number;
  readonly operand: Block;
  readonly result: Block;
}

/**
 * Up to here the slots of the plan are kept: all values of a slot begin at the same address, so threads go from one node to
 * the next with their rows and wait for nobody. In larger programs that does not show, and memory does.
 */
export const keptSlotsBytes: number = Number(process.env.KEPT ?? 64 * 2 ** 20);

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

interface Group {
  readonly byteLength: number;
  first: number;
  last: number;
  readonly members: Block[];
}

function pack(blocks: readonly Block[], inPlace: readonly InPlace[]): number {
  const groups = new Map<Block, Group>();
  for (const block of blocks) {
    if (block.last < 0 || block.area === 'outside') continue;
    const { first, last } = block;
    groups.set(block, { byteLength: aligned(block.byteLength), first, last, members: [block] });
  }
  for (const { instruction, operand, result } of inPlace) {
    const [from, to] = [groups.get(operand), groups.get(result)];
    // Nobody uses the one after the instruction, nor the other before it.
    if (!from || !to || from === to || from.last !== instruction || to.first !== instruction) continue;
    if (operand.byteLength !== result.byteLength) continue;
    from.last = to.last;
    from.members.push(...to.members);
    for (const member of to.members) groups.set(member, from);
  }
  const lifetimes = [...new Set(groups.values())];
  const { offsets, byteLength } = packBlocks(lifetimes);
  for (const [i, { members }] of lifetimes.entries()) for (const member of members) member.offset = offsets[i]!;
  return byteLength;
}
