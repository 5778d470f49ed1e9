/**
 * @file A compiled function. Binding it to concrete shapes and buffers gives code that an engine runs as a whole; the last few
 * bindings are kept, because generation calls the same function with the same buffers again and again.
 */
import {
  type Bindings,
  type DeviceBuffer,
  type Footprint,
  nodeError,
  type ProfileEvent,
  type Program,
  TurnClock,
  throwIfAborted,
} from '@quaver/executor';
import { byteCount, evaluateDim, type GraphFunction, type Node, type OpRegistry, updatedNames } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { Arena } from './arena.ts';
import { Block } from './code/arena-layout.ts';
import { CodeBuilder, memoryOf, type Ref } from './code/code-builder.ts';
import { CpuBuffer } from './cpu-buffer.ts';
import { emitFunction } from './emit-function.ts';
import type { Engine, LoadedCode, Reduction, RunFailure } from './engine/engine.ts';

const keptBindings = 4;

/** What programs of one executor share. */
export interface ProgramContext {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly registry: OpRegistry;
  readonly reduction: Reduction;
  /** Measure the time of every node. */
  readonly profile: boolean;
  /** Called when a program was disposed. */
  readonly forget: (program: CpuProgram) => void;
}

type Part = { readonly code: LoadedCode; readonly nodes: readonly (Node | undefined)[] } | (() => void);

interface BoundProgram {
  readonly key: string;
  readonly buffers: readonly CpuBuffer[];
  readonly generations: number;
  readonly parts: readonly Part[];
}

export class CpuProgram implements Program {
  readonly name: string;
  readonly context: ProgramContext;
  readonly #fn: GraphFunction;
  #bound: BoundProgram[] = [];
  /** Of bindings that were given back. */
  readonly #times = new Map<Node, number>();
  #disposed = false;

  constructor(fn: GraphFunction, context: ProgramContext) {
    if (!fn.plan) {
      throw new QuaverError('program-not-planned', `function '${fn.name}' has no memory plan`, {
        hint: 'Run the pass plan-memory, or open the function through a Session.',
      });
    }
    this.name = fn.name;
    this.#fn = fn;
    this.context = context;
  }

  /** Tells parameters which forms of them the function reads. */
  async prepare(parameters: Bindings['parameters'], signal: AbortSignal | undefined): Promise<void> {
    const own = Object.fromEntries(Object.entries(parameters).map(([name, buffer]) => [name, this.#own(buffer)]));
    for (const buffer of this.#updatedParameters({ parameters })) buffer.makeMutable();
    const anySizes = new Proxy({}, { get: () => 1, has: () => true }) as Bindings['symbols'];
    const { forms } = this.#emitWithout(own, anySizes);
    for (const buffer of Object.values(own)) {
      throwIfAborted(signal);
      await buffer.want(forms);
    }
  }

  /** Runs once. */
  async run(bindings: Bindings, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    if (this.#disposed) throw new QuaverError('program-disposed', `program '${this.name}' is used after dispose()`);
    const written = this.#updatedParameters(bindings);
    for (const buffer of written) buffer.makeMutable();
    const { parts, buffers } = await this.#bind(bindings);
    for (const buffer of buffers) if (buffer.isStale) await buffer.renew();
    try {
      await this.#runParts(parts, signal);
    } finally {
      for (const buffer of written) buffer.markWritten();
    }
  }

  async #runParts(parts: readonly Part[], signal: AbortSignal | undefined): Promise<void> {
    const clock = new TurnClock();
    for (const part of parts) {
      if (typeof part === 'function') {
        part();
        if (clock.isDue) await clock.turn();
        throwIfAborted(signal);
        continue;
      }
      const failure = await part.code.run(signal);
      if (failure) throw indexError(failure, part.nodes[failure.instruction]);
    }
    throwIfAborted(signal);
  }

  /** Adds the milliseconds that nodes took to `times`. */
  addTimes(times: Map<Node, number>): void {
    for (const [node, milliseconds] of this.#times) add(times, node, milliseconds);
    for (const { parts } of this.#bound) addTimesOf(parts, times);
  }

  /** Forgets code that is bound to memory: a run binds it anew. */
  releaseBindings(): void {
    for (const bound of this.#bound) this.#release(bound);
    this.#bound = [];
  }

  dispose(): void {
    this.#disposed = true;
    this.releaseBindings();
    this.context.forget(this);
  }

  /** What it takes to run at these sizes besides its buffers; nothing is allocated. */
  footprint(symbols: Bindings['symbols']): Footprint {
    const { engine } = this.context;
    const named = parametersOf(this.#fn).map(({ name, byteLength }) => {
      return [name, new CpuBuffer(engine, byteLength, 'parameter')] as const;
    });
    const parameters = Object.fromEntries(named);
    for (const name of updatedNames(this.#fn, 'parameter')) parameters[name]!.makeMutable();
    const code = this.#emitWithout(parameters, symbols);
    return {
      workspace: code.layOut(),
      parameterForms: new Map(named.map(([name, buffer]) => [name, buffer.formBytes(code.forms)])),
    };
  }

  /** Code that is not run: over no buffers but these parameters. */
  #emitWithout(parameters: Readonly<Record<string, CpuBuffer>>, symbols: Bindings['symbols']): CodeBuilder {
    const { engine, registry, reduction } = this.context;
    const code = new CodeBuilder(engine);
    const memory = { view: () => new Uint8Array() };
    emitFunction({ fn: this.#fn, symbols, buffers: { parameters }, code, registry, reduction, memory });
    return code;
  }

  async #bind(bindings: Bindings): Promise<BoundProgram> {
    const key = JSON.stringify(bindings.symbols);
    const buffers = this.#buffers(bindings);
    this.#releaseStale();
    const index = this.#bound.findIndex(
      (bound) => bound.key === key && bound.buffers.every((buffer, i) => buffer === buffers[i]),
    );
    const known = index >= 0 ? this.#bound.splice(index, 1)[0]! : undefined;
    const bound = known ?? (await this.#bindNew(key, buffers, bindings));
    this.#bound.push(bound);
    while (this.#bound.length > keptBindings) this.#release(this.#bound.shift()!);
    return bound;
  }

  /** A binding to memory that is gone keeps other memory for nothing. */
  #releaseStale(): void {
    const isStale = ({ buffers, generations }: BoundProgram) =>
      generations !== this.#generations(buffers) || buffers.some((buffer) => buffer.isDisposed);
    for (const stale of this.#bound.filter(isStale)) this.#release(stale);
    this.#bound = this.#bound.filter((bound) => !isStale(bound));
  }

  async #bindNew(key: string, buffers: readonly CpuBuffer[], bindings: Bindings): Promise<BoundProgram> {
    const { engine, arena: shared, registry, reduction, profile } = this.context;
    const code = new CodeBuilder(engine);
    const memory = { view: (ref: Ref, length: number) => viewOf(shared, ref, length) };
    emitFunction({ fn: this.#fn, symbols: bindings.symbols, buffers: bindings, code, registry, reduction, memory });
    for (const buffer of new Set(buffers)) await buffer.make(code.forms);
    const parts: Part[] = [];
    try {
      for (const segment of code.finish(shared.atLeast(code.layOut()))) {
        if (typeof segment === 'function') parts.push(segment);
        else {
          const loaded = engine.load(segment.image, segment.memories, profile);
          parts.push({ code: loaded, nodes: segment.nodes });
        }
      }
    } catch (error) {
      this.#release({ parts });
      throw error;
    }
    return { key, buffers, parts, generations: this.#generations(buffers) };
  }

  #release({ parts }: Pick<BoundProgram, 'parts'>): void {
    addTimesOf(parts, this.#times);
    for (const part of parts) if (typeof part !== 'function') part.code.release();
  }

  /** Generations only grow, so their sum changes with every one of them. */
  #generations(buffers: readonly CpuBuffer[]): number {
    let sum = this.context.arena.generation;
    for (const { generation } of buffers) sum += generation;
    return sum;
  }

  #buffers(bindings: Bindings): CpuBuffer[] {
    const fn = this.#fn;
    const named = [
      ...fn.inputs.map((value) => bindings.inputs[value.name]),
      ...fn.parameters.map((value) => bindings.parameters[value.ref!]),
      ...fn.states.map((value) => bindings.states[value.ref!]),
      ...fn.updates.map(({ target, name }) => (target === 'parameter' ? bindings.parameters : bindings.states)[name]),
      ...fn.outputs.map((output) => bindings.outputs[output.name]),
    ];
    return named.map((buffer) => this.#own(buffer));
  }

  /** The parameters that a run writes. */
  #updatedParameters({ parameters }: Pick<Bindings, 'parameters'>): CpuBuffer[] {
    return [...updatedNames(this.#fn, 'parameter')].map((name) => this.#own(parameters[name]));
  }

  #own(buffer: DeviceBuffer | undefined): CpuBuffer {
    if (buffer instanceof CpuBuffer && buffer.engine === this.context.engine) return buffer;
    throw new QuaverError(
      buffer ? 'buffer-foreign' : 'binding-missing',
      buffer ? 'a bound buffer belongs to another executor' : `function '${this.name}' was not given all its buffers`,
    );
  }
}

/** Host steps see intermediates and buffers. */
function viewOf(arena: Arena, { memory, offset }: Ref, byteLength: number): Uint8Array {
  const inArena = memory instanceof Block;
  const from = offset + (inArena ? memory.offset : 0);
  return (inArena ? arena.atLeast(0) : memoryOf(memory)).bytes().subarray(from, from + byteLength);
}

/** The parameters that a function reads or sets, once each. */
function parametersOf(fn: GraphFunction): { readonly name: string; readonly byteLength: number }[] {
  const read = fn.parameters.map(({ ref, type }) => [ref!, type] as const);
  const set = fn.updates.flatMap(({ target, name, value }) =>
    target === 'parameter' ? [[name, value.type] as const] : [],
  );
  return [...new Map([...set, ...read])].map(([name, type]) => ({
    name,
    byteLength: evaluateDim(byteCount(type), {}),
  }));
}

function addTimesOf(parts: readonly Part[], times: Map<Node, number>): void {
  for (const part of parts) {
    if (typeof part === 'function') continue;
    for (const [i, seconds] of part.code.seconds().entries()) {
      const node = part.nodes[i];
      if (node) add(times, node, 1000 * seconds);
    }
  }
}

function add(times: Map<Node, number>, node: Node, milliseconds: number): void {
  times.set(node, (times.get(node) ?? 0) + milliseconds);
}

function indexError({ position, found, limit }: RunFailure, node: Node | undefined): unknown {
  const error = new QuaverError('gather-index', `index ${found} at ${position} is outside of [0, ${limit})`, {
    hint: 'Token ids must be smaller than the vocabulary, and positions than the context.',
  });
  return node ? nodeError(node, error) : error;
}

/** Profile events of accumulated times, slowest first. */
export function profileEvents(times: ReadonlyMap<Node, number>): ProfileEvent[] {
  return [...times]
    .map(([node, milliseconds]) => ({ op: node.op, location: node.location, milliseconds }))
    .sort((a, b) => b.milliseconds - a.milliseconds);
}
