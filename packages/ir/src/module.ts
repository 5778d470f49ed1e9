/**
 * @file The graph in memory: plain objects that passes read and rebuild.
 * A `Module` owns parameters and state; its functions share them. Nothing here names a device or a precision recipe.
 */
import type { Dim } from './dim.ts';
import type { ConcreteType, TensorType } from './type.ts';

/** Bytes that may be somewhere else (a file range, a computation) until they are asked for. */
export interface TensorData {
  readonly byteLength: number;
  /** The little-endian, row-major bytes. The caller may keep the array but must not write to it. */
  read(signal?: AbortSignal): Promise<Uint8Array>;
  /** Set when the bytes live in a file next to the module: written as a reference instead of a copy. */
  readonly external?: ExternalData;
}

/** Bytes in a safetensors file: `uri` relative to the module's file, tensor `key`, sha256 of the tensor's bytes (hex). */
export interface ExternalData {
  readonly uri: string;
  readonly key: string;
  readonly sha256: string;
}

/** A symbolic dimension with the values it may take. */
export interface SymbolicDim {
  readonly name: string;
  readonly min: number;
  /** Infinity when unbounded. */
  readonly max: number;
  readonly multiple: number;
}

/** A named tensor shared by all functions of a module. */
export interface Parameter {
  readonly name: string;
  readonly type: ConcreteType;
  /** Missing in a module that is only a structure (for example parsed from text). */
  readonly data: TensorData | undefined;
  /** False for tables such as RoPE's cosines, which no optimizer may touch. */
  readonly trainable: boolean;
}

/** A tensor that a function reads and replaces: KV cache, amax history, optimizer moment. It starts as zeros. */
export interface StateVariable {
  readonly name: string;
  readonly type: TensorType;
}

/** What a value is to its function. */
export type ValueKind = 'input' | 'parameter' | 'state' | 'result';

/** An SSA value. Identity is the object; names are unique within a function. */
export interface Value {
  readonly kind: ValueKind;
  name: string;
  readonly type: TensorType;
  /** The parameter's or state variable's name; undefined for inputs and results. */
  readonly ref: string | undefined;
}

export type AttributeValue = number | boolean | string | readonly number[] | readonly Dim[];
export type Attributes = Readonly<Record<string, AttributeValue>>;

/** An operation, by (domain, name, version). Optional operands that are absent are undefined. */
export interface Node {
  readonly domain: string;
  readonly op: string;
  readonly version: number;
  readonly operands: readonly (Value | undefined)[];
  readonly results: readonly Value[];
  readonly attributes: Attributes;
  /** Where in the source model the node comes from: `model.layers.0.self_attn.q_proj`. */
  readonly location: string;
  /** Notes that passes leave for later passes and people, such as `precision`. Executors never read them. */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface FunctionOutput {
  readonly name: string;
  readonly value: Value;
}

/**
 * A functional update: after the call the state variable or the parameter holds `value`. Weights that train stay parameters:
 * an optimizer's step and the quantization of the new weights are updates like a cache's.
 */
export interface Update {
  readonly target: 'state' | 'parameter';
  /** Of the state variable or the parameter; the function need not read it. */
  readonly name: string;
  readonly value: Value;
}

/** The names of what a function updates. */
export function updatedNames(fn: GraphFunction, target: Update['target']): Set<string> {
  return new Set(fn.updates.filter((update) => update.target === target).map(({ name }) => name));
}

/** Where intermediate values live: values with the same slot never live at the same time. */
export interface MemoryPlan {
  /** Bytes per slot, as dimensions over the module's symbols. */
  readonly slots: readonly Dim[];
  /**
   * Slot index by value name. A value without an entry is an output or an update: it is written straight into the memory of
   * its output, state or parameter, also when its elementwise node reads the old contents there.
   */
  readonly slotOf: Readonly<Record<string, number>>;
}

export interface GraphFunction {
  readonly name: string;
  readonly inputs: readonly Value[];
  readonly parameters: readonly Value[];
  readonly states: readonly Value[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly FunctionOutput[];
  readonly updates: readonly Update[];
  readonly plan: MemoryPlan | undefined;
}

export interface Module {
  readonly name: string;
  readonly symbols: readonly SymbolicDim[];
  readonly parameters: readonly Parameter[];
  readonly states: readonly StateVariable[];
  readonly functions: readonly GraphFunction[];
  /** Free text by key: architecture, tokenizer ids, compiler version, recipe name, … */
  readonly metadata: Readonly<Record<string, string>>;
  /** Files that travel with the module, such as `tokenizer.json`. */
  readonly attachments: ReadonlyMap<string, TensorData>;
}

/** A module's function by name, or undefined. */
export function findFunction(module: Module, name: string): GraphFunction | undefined {
  return module.functions.find((fn) => fn.name === name);
}

/** Bytes that are already in memory. */
export function memoryData(bytes: Uint8Array): TensorData {
  return { byteLength: bytes.byteLength, read: () => Promise.resolve(bytes) };
}
