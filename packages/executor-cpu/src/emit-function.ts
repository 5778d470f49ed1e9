/** @file Gives every value of a function its place, and every node its instructions. */
import { type Bindings, nodeView } from '@quaver/executor';
import {
  bindType,
  type DimBindings,
  dtypeBytes,
  evaluateDim,
  type GraphFunction,
  type Node,
  type OpRegistry,
  type Value,
  writesInPlace,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { CodeBuilder, Ref } from './code/code-builder.ts';
import type { CpuBuffer } from './cpu-buffer.ts';
import type { Reduction } from './engine/engine.ts';
import { type HostMemory, hostStep } from './host-step.ts';
import { byteLength, elementRows, type KernelCall, type Place } from './kernel.ts';
import { findKernel } from './kernel-table.ts';

export interface Emission {
  readonly fn: GraphFunction;
  readonly symbols: DimBindings;
  /** Buffers by name; a function is also emitted without those of a call, to learn which forms of parameters it reads. */
  readonly buffers: Partial<Bindings>;
  readonly code: CodeBuilder;
  readonly registry: OpRegistry;
  readonly reduction: Reduction;
  /** How host steps reach memory once it is there. */
  readonly memory: HostMemory;
}

export function emitFunction(emission: Emission): void {
  new Emitter(emission).emitAll();
}

class Emitter {
  readonly #emission: Emission;
  readonly #places = new Map<Value, Place>();
  readonly #copies: { readonly from: Place; readonly to: Place }[] = [];

  constructor(emission: Emission) {
    this.#emission = emission;
  }

  emitAll(): void {
    const { fn, code } = this.#emission;
    this.#placeBuffers();
    this.#placeSlots();
    this.#placeResultsInBuffers();
    for (const node of fn.nodes) {
      code.begin(node);
      this.#emitNode(node);
    }
    code.begin(undefined);
    this.#emitCopies();
  }

  #placeBuffers(): void {
    const { fn, buffers } = this.#emission;
    for (const value of fn.inputs) this.#places.set(value, this.#bufferPlace(value, buffers.inputs?.[value.name]));
    for (const value of fn.parameters) {
      this.#places.set(value, this.#bufferPlace(value, buffers.parameters?.[value.ref!]));
    }
    for (const value of fn.states) this.#places.set(value, this.#bufferPlace(value, buffers.states?.[value.ref!]));
  }

  #placeSlots(): void {
    const { fn, symbols, code } = this.#emission;
    const { slots, slotOf } = fn.plan!;
    const offsets = slots.map((bytes) => code.slot(evaluateDim(bytes, symbols)));
    for (const node of fn.nodes) {
      for (const value of node.results) {
        const slot = slotOf[value.name];
        if (slot === undefined) continue;
        const type = this.#typeOf(value);
        const ref = code.intermediate(byteLength({ type }), offsets[slot]!);
        this.#places.set(value, { type, ref: () => ref });
      }
    }
  }

  /**
   * A result without a slot is an output or an update written in place. Whatever reaches an output, a state or a parameter from
   * elsewhere (an input that is an output, one value under two names) is copied at the end.
   */
  #placeResultsInBuffers(): void {
    const { fn, buffers } = this.#emission;
    for (const { name, value } of fn.outputs) this.#placeOrCopy(value, buffers.outputs?.[name]);
    for (const { target, name, value } of fn.updates) {
      const targets = target === 'parameter' ? buffers.parameters : buffers.states;
      if (value.kind !== target || value.ref !== name) this.#placeOrCopy(value, targets?.[name]);
    }
    // Links of an in-place chain before the last one live in the state's memory too.
    for (const node of fn.nodes.toReversed()) {
      const operand = node.operands[0];
      const place = this.#places.get(node.results[0]!);
      if (writesInPlace(node) && operand && place && !this.#places.has(operand)) {
        this.#places.set(operand, { ...place });
      }
    }
  }

  #placeOrCopy(value: Value, buffer: Bindings['outputs'][string] | undefined): void {
    const from = this.#places.get(value);
    const to = this.#bufferPlace(value, buffer);
    if (from) this.#copies.push({ from, to });
    else this.#places.set(value, to);
  }

  #bufferPlace(value: Value, bound: Bindings['inputs'][string] | undefined): Place {
    const type = this.#typeOf(value);
    const { code } = this.#emission;
    const buffer = bound as CpuBuffer | undefined;
    const bytes = byteLength({ type });
    if (!buffer) {
      const ref = code.outside(bytes);
      return { type, ref: () => ref };
    }
    if (buffer.byteLength !== bytes) {
      throw new QuaverError(
        'buffer-size',
        `'${value.name}' needs ${bytes} bytes, its buffer has ${buffer.byteLength}`,
        {
          where: { function: this.#emission.fn.name, value: value.name },
        },
      );
    }
    return { type, buffer, ref: () => code.require(buffer.rawForm()) };
  }

  #emitNode(node: Node): void {
    const { code, reduction, registry, memory } = this.#emission;
    const call: KernelCall = {
      code,
      reduction,
      attributes: node.attributes,
      operands: node.operands.map((value) => value && this.#places.get(value)!),
      results: node.results.map((value) => this.#places.get(value)!),
    };
    const view = nodeView(node);
    const kernel = findKernel(view);
    if (kernel?.supports(view).ok) kernel.emit(call);
    else hostStep(registry.get(node.domain, node.op, node.version), call, node, memory);
  }

  #emitCopies(): void {
    const { code, fn } = this.#emission;
    const updated = [...fn.states, ...fn.parameters].filter(({ kind, ref }) =>
      fn.updates.some(({ target, name }) => target === kind && name === ref),
    );
    const replaced = new Set<Place | undefined>(updated.map((value) => this.#places.get(value)));
    // A state that another state takes over may itself be overwritten first: two that swap, for example.
    const sources = this.#copies.map(({ from }) => (replaced.has(from) ? this.#snapshot(from) : from.ref()));
    for (const [i, { to }] of this.#copies.entries()) copy(code, to, sources[i]!, to.ref());
  }

  #snapshot(from: Place): Ref {
    const { code } = this.#emission;
    const snapshot = code.scratch(byteLength(from));
    copy(code, from, from.ref(), snapshot);
    return snapshot;
  }

  #typeOf(value: Value) {
    return bindType(value.type, this.#emission.symbols);
  }
}

function copy(code: CodeBuilder, { type }: Place, from: Ref, to: Ref): void {
  const [rows, width] = elementRows(type.shape);
  if (rows > 0) code.emit('copy', [from, to], [rows, width * dtypeBytes[type.dtype]]);
}
