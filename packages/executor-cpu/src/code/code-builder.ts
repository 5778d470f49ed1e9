/**
 * @file Turns kernels' calls into an image: the numbers that an engine loads. Memory that is known only at the end (the
 * arena of intermediates, scratch of single nodes) is named by areas until then.
 */
import type { Node } from '@quaver/ir';
import { type Engine, type EngineMemory, formatCode, type KernelFormat } from '../engine/engine.ts';

const alignment = 64;
const aligned = (byteLength: number): number => Math.ceil(byteLength / alignment) * alignment;

/** A part of the arena whose place is known when all code is there. */
export type Area = 'slots' | 'node' | 'staged-0' | 'staged-1';

/** A form of a parameter (as it is, packed, decoded) that is made before the code runs. */
export interface Form {
  /** Set once it was made. */
  readonly memory: EngineMemory | undefined;
}

/** Why code reads a form: for its bytes, or for rows of a table that a packed form can give, too. */
export type Need = 'bytes' | 'table';

/** An address: an offset into memory that exists, into a form of a parameter, or into an area of the arena. */
export interface Ref {
  readonly memory: EngineMemory | Form | Area;
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
  readonly area: Area;
}

export class CodeBuilder {
  readonly engine: Engine;
  #node: Node | undefined;
  #instructions: Instruction[] = [];
  readonly #parts: (readonly Instruction[] | (() => void))[] = [];
  readonly #sizes: Record<Area, number> = { slots: 0, node: 0, 'staged-0': 0, 'staged-1': 0 };
  #nodeBytes = 0;
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
  }

  /** Work for JavaScript, between what was emitted before and what comes after. */
  host(step: () => void): void {
    this.#closeSegment();
    this.#parts.push(step);
    this.#staged = [];
  }

  /** The address of a form. */
  require(form: Form, need: Need = 'bytes'): Ref {
    if (this.forms.get(form) !== 'bytes') this.forms.set(form, need);
    return { memory: form, offset: 0 };
  }

  /** A slot of intermediates. */
  slot(byteLength: number): Ref {
    const offset = this.#sizes.slots;
    this.#sizes.slots += aligned(byteLength);
    return { memory: 'slots', offset };
  }

  /** Memory that only the node that is being emitted uses. */
  scratch(byteLength: number): Ref {
    const offset = this.#nodeBytes;
    this.#nodeBytes += aligned(byteLength);
    this.#sizes.node = Math.max(this.#sizes.node, this.#nodeBytes);
    return { memory: 'node', offset };
  }

  /**
   * Activations a[m, k] (element (r, c) at r · rowStride + c · columnStride) as the matrix kernels read them. What the last
   * two products used is not staged again: three projections often share one input. `owner` is the value: memory is used
   * again by others, a value is not.
   */
  staged(owner: object, a: Ref, { aFormat, wFormat, m, k, rowStride = k, columnStride = 1 }: StagedForm): Ref {
    const key = `${aFormat} ${wFormat} ${m} ${k} ${rowStride} ${columnStride}`;
    const known = this.#staged.find((entry) => entry.owner === owner && entry.key === key);
    if (known) return { memory: known.area, offset: 0 };
    const area: Area = this.#staged.at(-1)?.area === 'staged-0' ? 'staged-1' : 'staged-0';
    this.#staged = [...this.#staged.filter((entry) => entry.area !== area), { owner, key, area }];
    this.#sizes[area] = Math.max(this.#sizes[area], aligned(this.engine.stagedBytes(aFormat, wFormat, m, k)));
    const staged: Ref = { memory: area, offset: 0 };
    this.emit('stage', [a, staged], [formatCode[aFormat], m, k, rowStride, columnStride, formatCode[wFormat]]);
    return staged;
  }

  /** Bytes of the arena that the code needs. */
  get arenaBytes(): number {
    return Object.values(this.#sizes).reduce((sum, size) => sum + size, 0);
  }

  /** Segments and host steps in order, over an arena of at least `arenaBytes`. */
  finish(arena: EngineMemory): (Segment | (() => void))[] {
    this.#closeSegment();
    const { slots, node, 'staged-0': first } = this.#sizes;
    const bases: Record<Area, number> = {
      slots: 0,
      node: slots,
      'staged-0': slots + node,
      'staged-1': slots + node + first,
    };
    return this.#parts.map((part) => (typeof part === 'function' ? part : toSegment(part, arena, bases)));
  }

  #closeSegment(): void {
    if (this.#instructions.length > 0) this.#parts.push(this.#instructions);
    this.#instructions = [];
  }
}

function toSegment(
  instructions: readonly Instruction[],
  arena: EngineMemory,
  bases: Readonly<Record<Area, number>>,
): Segment {
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
      const [memory, base] = typeof ref.memory === 'string' ? [arena, bases[ref.memory]] : [memoryOf(ref.memory), 0];
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
