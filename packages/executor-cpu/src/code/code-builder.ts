/**
 * @file Turns kernels' calls into an image: the numbers that an engine loads. What lies in the arena (intermediates, scratch of
 * single nodes) has its address only at the end; until then it is a block.
 */
import type { Node } from '@quaver/ir';
import { type Engine, type EngineMemory, formatCode, type KernelFormat } from '../engine/engine.ts';
import { type Area, aligned, Block, type InPlace, layOut } from './arena-layout.ts';

/** A form of a parameter (as it is, packed, decoded) that is made before the code runs. */
export interface Form {
  /** Set once it was made. */
  readonly memory: EngineMemory | undefined;
}

/** Why code reads a form: for its bytes, or for rows of a table that a packed form can give, too. */
export type Need = 'bytes' | 'table';

/** An address: an offset into memory that exists, into a form of a parameter, or into a block of the arena. */
export interface Ref {
  readonly memory: EngineMemory | Form | Block;
  readonly offset: number;
}

export interface StagedForm {
  readonly aFormat: KernelFormat;
  readonly wFormat: KernelFormat;
  readonly m: number;
  readonly k: number;
  readonly rowStride?: number;
  readonly columnStride?: number;
}

interface Instruction {
  readonly code: number;
  readonly refs: readonly (Ref | undefined)[];
  readonly numbers: readonly number[];
  readonly node: Node | undefined;
}

/** What runs between two host steps. */
export interface Segment {
  readonly image: Float64Array;
  readonly memories: readonly EngineMemory[];
  /** The node that each instruction belongs to. */
  readonly nodes: readonly (Node | undefined)[];
}

interface Staged {
  readonly owner: object;
  readonly key: string;
  readonly block: Block;
}

/** Instructions that may write their last operand over these: they read each element before they write it, and not again. */
const inPlaceOperands: Readonly<Record<string, readonly number[]>> = {
  unary: [0],
  binary: [0, 1],
  integer: [0, 1],
  copy: [0],
  log_softmax_gather_grad: [0],
};

export class CodeBuilder {
  readonly engine: Engine;
  #node: Node | undefined;
  #instructions: Instruction[] = [];
  readonly #parts: (readonly Instruction[] | (() => void))[] = [];
  readonly #sizes: Record<Area, number> = { slots: 0, node: 0, 'staged-0': 0, 'staged-1': 0, outside: 0 };
  readonly #blocks: Block[] = [];
  readonly #inPlace: InPlace[] = [];
  #nodeBytes = 0;
  /** Instructions and host steps so far. */
  #count = 0;
  /** Forms of parameters that the code reads: make them before `finish`. */
  readonly forms: Map<Form, Need> = new Map();
  /** Activations that are staged already, the latest last; there are two areas for them. */
  #staged: Staged[] = [];

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** What is emitted from here on belongs to `node`; scratch of the node before may be used again. */
  begin(node: Node | undefined): void {
    this.#node = node;
    this.#nodeBytes = 0;
  }

  emit(op: string, refs: readonly (Ref | undefined)[], numbers: readonly number[]): void {
    this.#instructions.push({ code: this.engine.opCode(op), refs, numbers, node: this.#node });
    const result = refs.at(-1);
    for (const i of inPlaceOperands[op] ?? []) {
      const operand = refs[i];
      if (operand && result) this.#mayShare(operand, result, this.#count, this.#count);
    }
    this.#use(refs);
  }

  /** Work for JavaScript on these addresses, between what was emitted before and what comes after. */
  host(step: () => void, refs: readonly Ref[]): void {
    this.#closeSegment();
    this.#parts.push(step);
    this.#staged = [];
    this.#use(refs);
  }

  #use(refs: readonly (Ref | undefined)[]): void {
    for (const ref of refs) if (ref?.memory instanceof Block) ref.memory.use(this.#count);
    this.#count++;
  }

  /** Allows what `emit` emits to write `result` over `operand`. */
  overwriting(operand: Ref, result: Ref, emit: () => void): void {
    const first = this.#count;
    emit();
    this.#mayShare(operand, result, first, this.#count - 1);
  }

  #mayShare({ memory: operand, offset: from }: Ref, { memory: result, offset: to }: Ref, first: number, last: number) {
    if (!(operand instanceof Block && result instanceof Block) || from !== 0 || to !== 0) return;
    this.#inPlace.push({ first, last, operand, result });
  }

  /** The address of a form. */
  require(form: Form, need: Need = 'bytes'): Ref {
    if (this.forms.get(form) !== 'bytes') this.forms.set(form, need);
    return { memory: form, offset: 0 };
  }

  /** A slot of intermediates: its offset among the slots. */
  slot(byteLength: number): number {
    const offset = this.#sizes.slots;
    this.#sizes.slots += aligned(byteLength);
    return offset;
  }

  /** An intermediate, in its slot. */
  intermediate(byteLength: number, slot: number): Ref {
    return { memory: this.#block(byteLength, 'slots', slot), offset: 0 };
  }

  /** Stands for a buffer that is not there: such code is not run. */
  outside(byteLength: number): Ref {
    return { memory: this.#block(byteLength, 'outside', 0), offset: 0 };
  }

  /** Memory that only the node that is being emitted uses. */
  scratch(byteLength: number): Ref {
    const offset = this.#nodeBytes;
    this.#nodeBytes += aligned(byteLength);
    this.#sizes.node = Math.max(this.#sizes.node, this.#nodeBytes);
    return { memory: this.#block(byteLength, 'node', offset), offset: 0 };
  }

  #block(byteLength: number, area: Area, areaOffset: number): Block {
    const block = new Block(byteLength, area, areaOffset);
    this.#blocks.push(block);
    return block;
  }

  /**
   * Activations a[m, k] (element (r, c) at r · rowStride + c · columnStride) as the matrix kernels read them. What the last
   * two products used is not staged again: three projections often share one input. `owner` is the value: memory is used
   * again by others, a value is not.
   */
  staged(owner: object, a: Ref, { aFormat, wFormat, m, k, rowStride = k, columnStride = 1 }: StagedForm): Ref {
    const key = `${a.offset} ${aFormat} ${wFormat} ${m} ${k} ${rowStride} ${columnStride}`;
    const known = this.#staged.find((entry) => entry.owner === owner && entry.key === key);
    if (known) return { memory: known.block, offset: 0 };
    const area: Area = this.#staged.at(-1)?.block.area === 'staged-0' ? 'staged-1' : 'staged-0';
    const byteLength = this.engine.stagedBytes(aFormat, wFormat, m, k);
    const block = this.#block(byteLength, area, 0);
    this.#staged = [...this.#staged.filter((entry) => entry.block.area !== area), { owner, key, block }];
    this.#sizes[area] = Math.max(this.#sizes[area], aligned(byteLength));
    const staged: Ref = { memory: block, offset: 0 };
    this.emit('stage', [a, staged], [formatCode[aFormat], m, k, rowStride, columnStride, formatCode[wFormat]]);
    return staged;
  }

  /** Places everything in the arena, when all code is there. @returns the bytes that the arena needs */
  layOut(): number {
    return layOut(this.#blocks, this.#inPlace, this.#sizes);
  }

  /** Segments and host steps in order, over an arena of at least as many bytes as `layOut` said. */
  finish(arena: EngineMemory): (Segment | (() => void))[] {
    this.#closeSegment();
    return this.#parts.map((part) => (typeof part === 'function' ? part : toSegment(part, arena)));
  }

  #closeSegment(): void {
    if (this.#instructions.length > 0) this.#parts.push(this.#instructions);
    this.#instructions = [];
  }
}

function toSegment(instructions: readonly Instruction[], arena: EngineMemory): Segment {
  const memories: EngineMemory[] = [];
  const indices = new Map<EngineMemory, number>();
  const numbers: number[] = [instructions.length];
  for (const { code, refs, numbers: own } of instructions) {
    numbers.push(code);
    for (const ref of refs) {
      if (!ref) {
        numbers.push(-1, 0);
        continue;
      }
      const [memory, base] = ref.memory instanceof Block ? [arena, ref.memory.offset] : [memoryOf(ref.memory), 0];
      let index = indices.get(memory);
      if (index === undefined) {
        index = memories.push(memory) - 1;
        indices.set(memory, index);
      }
      numbers.push(index, base + ref.offset);
    }
    numbers.push(...own);
  }
  return { image: Float64Array.from(numbers), memories, nodes: instructions.map(({ node }) => node) };
}

/** Memory of a form that was made. */
export function memoryOf(memory: EngineMemory | Form): EngineMemory {
  return 'byteLength' in memory ? memory : memory.memory!;
}
