/**
 * @file A compiled function. Binding it to concrete shapes and buffers gives a list of steps over fixed memory; the
 * last few bindings are kept, because generation calls the same function with the same buffers again and again.
 */
import {
  type Bindings,
  type DeviceBuffer,
  nodeError,
  nodeView,
  type ProfileEvent,
  type Program,
  TurnClock,
  throwIfAborted,
} from '@quaver/executor';
import {
  bindType,
  byteCount,
  concreteElementCount,
  dtypeBytes,
  evaluateDim,
  type GraphFunction,
  type Node,
  type OpRegistry,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { CpuBuffer } from './cpu-buffer.ts';
import { evaluatedSteps } from './evaluated-kernel.ts';
import type { KernelCall, Place, Scratch, Step } from './kernel.ts';
import { findKernel } from './kernel-table.ts';
import type { KernelFormat, Kernels } from './kernels.ts';
import type { WasmHeap } from './wasm-heap.ts';

const keptBindings = 4;

interface BoundNode {
  readonly node: Node;
  readonly steps: readonly Step[];
}

interface BoundProgram {
  readonly key: string;
  readonly buffers: readonly CpuBuffer[];
  readonly nodes: readonly BoundNode[];
  /** Run after the nodes: what reaches an output or a state from elsewhere. */
  readonly copies: readonly Step[];
  readonly blocks: readonly number[];
}

export class CpuProgram implements Program {
  readonly name: string;
  readonly heap: WasmHeap;
  readonly #fn: GraphFunction;
  readonly #kernels: Kernels;
  readonly #registry: OpRegistry;
  #bound: BoundProgram[] = [];
  #disposed = false;

  constructor(fn: GraphFunction, kernels: Kernels, heap: WasmHeap, registry: OpRegistry) {
    if (!fn.plan) {
      throw new QuaverError('program-not-planned', `function '${fn.name}' has no memory plan`, {
        hint: 'Run the pass plan-memory, or open the function through a Session.',
      });
    }
    this.name = fn.name;
    this.#fn = fn;
    this.#kernels = kernels;
    this.heap = heap;
    this.#registry = registry;
  }

  /** Packs the parameters that kernels read packed. */
  async prepare(parameters: Bindings['parameters'], signal: AbortSignal | undefined): Promise<void> {
    const clock = new TurnClock();
    for (const node of this.#fn.nodes) {
      const view = nodeView(node);
      const kernel = findKernel(view);
      const weights = node.operands[kernel?.packedOperand ?? Number.NaN];
      if (weights?.kind !== 'parameter' || !kernel?.supports(view).ok) continue;
      const [n, k] = weights.type.shape as readonly [number, number];
      this.#own(parameters[weights.ref!]).packed(this.#kernels, weights.type.dtype as KernelFormat, n, k);
      if (clock.isDue) await clock.turn();
      throwIfAborted(signal);
    }
  }

  /** Runs once; gives the event loop a turn now and then. Adds to `profile` when given. */
  async run(bindings: Bindings, signal: AbortSignal | undefined, profile?: Map<Node, number>): Promise<void> {
    throwIfAborted(signal);
    if (this.#disposed) throw new QuaverError('program-disposed', `program '${this.name}' is used after dispose()`);
    const { nodes, copies } = this.#bind(bindings);
    const clock = new TurnClock();
    for (const { node, steps } of nodes) {
      const start = profile ? performance.now() : 0;
      for (const step of steps) {
        runStep(node, step);
        if (clock.isDue) {
          await clock.turn();
          throwIfAborted(signal);
        }
      }
      if (profile) profile.set(node, (profile.get(node) ?? 0) + performance.now() - start);
    }
    for (const copy of copies) copy();
  }

  dispose(): void {
    this.#disposed = true;
    for (const bound of this.#bound) this.#release(bound);
    this.#bound = [];
  }

  #bind(bindings: Bindings): BoundProgram {
    const key = JSON.stringify(bindings.symbols);
    const buffers = this.#buffers(bindings);
    const index = this.#bound.findIndex(
      (bound) => bound.key === key && bound.buffers.every((buffer, i) => buffer === buffers[i]),
    );
    const bound = index >= 0 ? this.#bound.splice(index, 1)[0]! : this.#bindNew(key, buffers, bindings);
    this.#bound.push(bound);
    while (this.#bound.length > keptBindings) this.#release(this.#bound.shift()!);
    return bound;
  }

  #bindNew(key: string, buffers: readonly CpuBuffer[], bindings: Bindings): BoundProgram {
    // A binding to buffers that are gone keeps memory for nothing.
    for (const stale of this.#bound.filter(({ buffers: old }) => old.some((buffer) => buffer.isDisposed))) {
      this.#release(stale);
      this.#bound.splice(this.#bound.indexOf(stale), 1);
    }
    const binder = new Binder(this.#fn, bindings, this.#kernels, this.heap, this.#registry);
    try {
      return { key, buffers, ...binder.bindAll(), blocks: binder.blocks };
    } catch (error) {
      for (const block of binder.blocks) this.heap.release(block);
      throw error;
    }
  }

  #release(bound: BoundProgram): void {
    for (const block of bound.blocks) this.heap.release(block);
  }

  #buffers(bindings: Bindings): CpuBuffer[] {
    const fn = this.#fn;
    const named = [
      ...fn.inputs.map((value) => bindings.inputs[value.name]),
      ...fn.parameters.map((value) => bindings.parameters[value.ref!]),
      ...fn.states.map((value) => bindings.states[value.ref!]),
      ...fn.updates.map(({ state }) => bindings.states[state]),
      ...fn.outputs.map((output) => bindings.outputs[output.name]),
    ];
    return named.map((buffer) => this.#own(buffer));
  }

  #own(buffer: DeviceBuffer | undefined): CpuBuffer {
    if (buffer instanceof CpuBuffer && buffer.heap === this.heap) return buffer;
    throw new QuaverError(
      buffer ? 'buffer-foreign' : 'binding-missing',
      buffer ? 'a bound buffer belongs to another executor' : `function '${this.name}' was not given all its buffers`,
    );
  }
}

function runStep(node: Node, step: Step): void {
  try {
    step();
  } catch (error) {
    throw nodeError(node, error);
  }
}

/** Gives every value of a function its place, and every node its steps. */
class Binder {
  readonly blocks: number[] = [];
  readonly #fn: GraphFunction;
  readonly #bindings: Bindings;
  readonly #kernels: Kernels;
  readonly #heap: WasmHeap;
  readonly #registry: OpRegistry;
  readonly #places = new Map<Value, Place>();
  readonly #slots: number[] = [];
  readonly #snapshots: Step[] = [];
  readonly #copies: Step[] = [];
  #scratchBytes = 0;
  #scratchPointer = 0;

  constructor(fn: GraphFunction, bindings: Bindings, kernels: Kernels, heap: WasmHeap, registry: OpRegistry) {
    this.#fn = fn;
    this.#bindings = bindings;
    this.#kernels = kernels;
    this.#heap = heap;
    this.#registry = registry;
  }

  bindAll(): Pick<BoundProgram, 'nodes' | 'copies'> {
    this.#placeBuffers();
    this.#placeSlots();
    this.#placeResultsInBuffers();
    const nodes = this.#fn.nodes.map((node) => ({ node, steps: this.#steps(node) }));
    if (this.#scratchBytes > 0) this.#scratchPointer = this.#allocate(this.#scratchBytes);
    return { nodes, copies: [...this.#snapshots, ...this.#copies] };
  }

  #placeBuffers(): void {
    const { inputs, parameters, states } = this.#bindings;
    for (const value of this.#fn.inputs) this.#placeBuffer(value, inputs[value.name]);
    for (const value of this.#fn.parameters) this.#placeBuffer(value, parameters[value.ref!]);
    for (const value of this.#fn.states) this.#placeBuffer(value, states[value.ref!]);
  }

  #placeSlots(): void {
    const { slots, slotOf } = this.#fn.plan!;
    for (const bytes of slots) this.#slots.push(this.#allocate(evaluateDim(bytes, this.#bindings.symbols)));
    for (const node of this.#fn.nodes) {
      for (const value of node.results) {
        const slot = slotOf[value.name];
        if (slot === undefined) continue;
        const pointer = this.#slots[slot]!;
        this.#places.set(value, { type: bindType(value.type, this.#bindings.symbols), pointer: () => pointer });
      }
    }
  }

  /**
   * A result without a slot is an output or an update written in place. Whatever reaches an output or a state from
   * elsewhere (an input that is an output, one value under two names) is copied at the end.
   */
  #placeResultsInBuffers(): void {
    for (const { name, value } of this.#fn.outputs) this.#placeOrCopy(value, this.#bindings.outputs[name]!);
    for (const { state, value } of this.#fn.updates) {
      if (value.ref !== state) this.#placeOrCopy(value, this.#bindings.states[state]!);
    }
    // Links of an in-place chain before the last one live in the state's memory too.
    for (const node of this.#fn.nodes.toReversed()) {
      const operand = node.operands[0];
      const place = this.#places.get(node.results[0]!);
      if (node.op === 'dynamic_update_slice' && operand && place && !this.#places.has(operand)) {
        this.#places.set(operand, place);
      }
    }
  }

  #placeOrCopy(value: Value, buffer: Bindings['outputs'][string]): void {
    const source = this.#places.get(value);
    if (!source) {
      this.#placeBuffer(value, buffer);
      return;
    }
    const target = buffer as CpuBuffer;
    const bytes = this.#byteLength(value);
    // A state that another state takes over may itself be overwritten first: two that swap, for example.
    const stable = value.kind === 'state' ? this.#snapshot(source, bytes) : source;
    this.#copies.push(() => this.#copy(stable, target, bytes));
  }

  #snapshot(source: Place, bytes: number): Pick<Place, 'pointer'> {
    const pointer = this.#allocate(bytes);
    const snapshot = { pointer: () => pointer };
    this.#snapshots.push(() => this.#copy(source, snapshot, bytes));
    return snapshot;
  }

  #copy(from: Pick<Place, 'pointer'>, to: Pick<Place, 'pointer'>, bytes: number): void {
    this.#heap.copy(to.pointer(), from.pointer(), bytes);
  }

  #placeBuffer(value: Value, buffer: Bindings['inputs'][string] | undefined): void {
    const own = buffer as CpuBuffer;
    const type = bindType(value.type, this.#bindings.symbols);
    const bytes = concreteElementCount(type) * dtypeBytes[type.dtype];
    if (own.byteLength !== bytes) {
      throw new QuaverError('buffer-size', `'${value.name}' needs ${bytes} bytes, its buffer has ${own.byteLength}`, {
        where: { function: this.#fn.name, value: value.name },
      });
    }
    this.#places.set(value, { type, buffer: own, pointer: () => own.pointer() });
  }

  #steps(node: Node): readonly Step[] {
    const call: KernelCall = {
      kernels: this.#kernels,
      heap: this.#heap,
      attributes: node.attributes,
      operands: node.operands.map((value) => value && this.#places.get(value)!),
      results: node.results.map((value) => this.#places.get(value)!),
      scratch: (byteLength) => this.#scratch(byteLength),
    };
    const view = nodeView(node);
    const kernel = findKernel(view);
    return kernel?.supports(view).ok
      ? kernel.steps(call)
      : evaluatedSteps(this.#registry.get(node.domain, node.op, node.version), call);
  }

  #scratch(byteLength: number): Scratch {
    this.#scratchBytes = Math.max(this.#scratchBytes, byteLength);
    return { pointer: () => this.#scratchPointer };
  }

  #byteLength(value: Value): number {
    return evaluateDim(byteCount(value.type), this.#bindings.symbols);
  }

  #allocate(byteLength: number): number {
    const pointer = this.#heap.allocate(byteLength);
    this.blocks.push(pointer);
    return pointer;
  }
}

/** Profile events of accumulated times, slowest first. */
export function profileEvents(times: ReadonlyMap<Node, number>): ProfileEvent[] {
  return [...times]
    .map(([node, milliseconds]) => ({ op: node.op, location: node.location, milliseconds }))
    .sort((a, b) => b.milliseconds - a.milliseconds);
}
