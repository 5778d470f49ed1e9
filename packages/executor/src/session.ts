/**
 * @file A session: one module on one executor. It uploads parameters once, compiles functions when they are first
 * used, owns state, and turns named host tensors into a submission and back.
 */
import {
  bindSymbols,
  bindType,
  byteCount,
  concreteElementCount,
  coreOps,
  type DimBindings,
  dtypeBytes,
  evaluateDim,
  findFunction,
  type GraphFunction,
  type HostTensor,
  legalizeFunction,
  type Module,
  type OpRegistry,
  planMemory,
  viewHostArray,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { type Assignment, assign, nodeView } from './assignment.ts';
import type { BufferUsage, DeviceBuffer, Executor, Program } from './contract.ts';
import { throwIfAborted } from './submission-queue.ts';

export interface SessionProgress {
  readonly phase: 'load';
  readonly parameter: string;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface SessionOptions {
  /** Functions that will be called; parameters that none of them uses are not loaded. Default: all. */
  readonly functions?: readonly string[];
  readonly registry?: OpRegistry;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SessionProgress) => void;
}

export interface RunOptions {
  /** The state that the function reads and updates; needed by functions that have any. */
  readonly state?: SessionState;
  /** Outputs to bring back; default all. */
  readonly outputs?: readonly string[];
  readonly signal?: AbortSignal;
}

interface Compiled {
  readonly fn: GraphFunction;
  readonly program: Program;
  readonly assignments: readonly Assignment[];
}

/** State variables at concrete sizes, for example the KV cache of B sequences with C positions. Zeros at first. */
export class SessionState {
  readonly symbols: DimBindings;
  readonly buffers: Readonly<Record<string, DeviceBuffer>>;

  constructor(symbols: DimBindings, buffers: Readonly<Record<string, DeviceBuffer>>) {
    this.symbols = symbols;
    this.buffers = buffers;
  }

  get byteLength(): number {
    return Object.values(this.buffers).reduce((sum, buffer) => sum + buffer.byteLength, 0);
  }

  dispose(): void {
    for (const buffer of Object.values(this.buffers)) buffer.dispose();
  }
}

export class Session implements AsyncDisposable {
  readonly module: Module;
  readonly executor: Executor;
  readonly #registry: OpRegistry;
  readonly #parameters = new Map<string, DeviceBuffer>();
  readonly #compiled = new Map<string, Promise<Compiled>>();
  readonly #callBuffers = new Map<string, DeviceBuffer>();
  #calls: Promise<unknown> = Promise.resolve();

  private constructor(module: Module, executor: Executor, registry: OpRegistry) {
    this.module = module;
    this.executor = executor;
    this.#registry = registry;
  }

  /**
   * Loads parameters and checks that the executor takes every node. The caller keeps ownership of the executor.
   * @throws QuaverError `node-unsupported`, `executor-out-of-memory`, `session-parameter-missing`, `aborted`
   */
  static async open(module: Module, executor: Executor, options: SessionOptions = {}): Promise<Session> {
    const session = new Session(module, executor, options.registry ?? coreOps);
    const names = options.functions ?? module.functions.map((fn) => fn.name);
    try {
      for (const name of names) await session.#compile(name, options.signal);
      await session.#load(names, options);
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
    return session;
  }

  /** Where every node of a function runs. */
  async assignments(name: string): Promise<readonly Assignment[]> {
    return (await this.#compile(name)).assignments;
  }

  /**
   * State for given sizes of its symbolic dimensions, zero-filled.
   * @throws QuaverError `session-symbol-range`, `executor-out-of-memory`
   */
  createState(symbols: DimBindings): SessionState {
    this.#checkRanges(symbols);
    const buffers: Record<string, DeviceBuffer> = {};
    try {
      for (const state of this.module.states) {
        buffers[state.name] = this.executor.allocate(evaluateDim(byteCount(state.type), symbols), 'state');
      }
    } catch (error) {
      for (const buffer of Object.values(buffers)) buffer.dispose();
      throw error;
    }
    return new SessionState(symbols, buffers);
  }

  /**
   * Calls a function. Symbols come from the shapes of the inputs and from the state.
   * @throws QuaverError `shape-mismatch`, `session-input`, `session-state-missing`, `aborted`, and what the executor throws
   */
  async run(
    name: string,
    inputs: Readonly<Record<string, HostTensor>>,
    options: RunOptions = {},
  ): Promise<Record<string, HostTensor>> {
    const compiled = await this.#compile(name, options.signal);
    // One call at a time: calls share input and output buffers.
    const call = this.#calls.then(() => this.#call(compiled, inputs, options));
    this.#calls = call.catch(() => undefined);
    return call;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#calls;
    for (const compiled of this.#compiled.values()) {
      await compiled.then(
        ({ program }) => program.dispose(),
        () => undefined,
      );
    }
    for (const buffer of [...this.#parameters.values(), ...this.#callBuffers.values()]) buffer.dispose();
    this.#parameters.clear();
    this.#callBuffers.clear();
  }

  async #call(
    { fn, program }: Compiled,
    inputs: Readonly<Record<string, HostTensor>>,
    { state, outputs = fn.outputs.map((output) => output.name), signal }: RunOptions,
  ): Promise<Record<string, HostTensor>> {
    throwIfAborted(signal);
    const symbols = this.#bind(fn, inputs, state);
    const inputBuffers: Record<string, DeviceBuffer> = {};
    for (const value of fn.inputs) {
      const { data } = inputs[value.name]!;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const buffer = this.#callBuffer(`${fn.name}.in.${value.name}`, bytes.byteLength, 'input');
      await this.executor.upload(buffer, bytes);
      inputBuffers[value.name] = buffer;
    }
    const outputBuffers: Record<string, DeviceBuffer> = {};
    for (const { name, value } of fn.outputs) {
      const bytes = evaluateDim(byteCount(value.type), symbols);
      outputBuffers[name] = this.#callBuffer(`${fn.name}.out.${name}`, bytes, 'output');
    }
    const fence = this.executor.submit(
      program,
      {
        symbols,
        inputs: inputBuffers,
        parameters: Object.fromEntries(fn.parameters.map((value) => [value.ref!, this.#parameters.get(value.ref!)!])),
        states: state ? Object.fromEntries(fn.states.map((value) => [value.ref!, state.buffers[value.ref!]!])) : {},
        outputs: outputBuffers,
      },
      signal,
    );
    await this.executor.wait(fence);
    const results: Record<string, HostTensor> = {};
    for (const { name, value } of fn.outputs) {
      if (!outputs.includes(name)) continue;
      const type = bindType(value.type, symbols);
      results[name] = { type, data: viewHostArray(type.dtype, await this.executor.download(outputBuffers[name]!)) };
    }
    return results;
  }

  #bind(fn: GraphFunction, inputs: Readonly<Record<string, HostTensor>>, state: SessionState | undefined): DimBindings {
    for (const value of fn.inputs) {
      const given = inputs[value.name];
      if (!given) throw inputError(fn.name, value.name, 'is not given');
      if (given.type.dtype !== value.type.dtype) {
        throw inputError(fn.name, value.name, `is ${given.type.dtype}, expected ${value.type.dtype}`);
      }
      if (given.data.byteLength !== concreteElementCount(given.type) * dtypeBytes[given.type.dtype]) {
        throw inputError(
          fn.name,
          value.name,
          `holds ${given.data.length} elements, its shape says [${given.type.shape}]`,
        );
      }
    }
    if (fn.states.length > 0 && !state) {
      throw new QuaverError('session-state-missing', `function '${fn.name}' reads state, and none was given`, {
        hint: 'Make one with session.createState(…) and pass it as `state`.',
        where: { function: fn.name },
      });
    }
    const shapes = Object.fromEntries(fn.inputs.map((value) => [value.name, inputs[value.name]!.type.shape]));
    const symbols = bindSymbols(fn, shapes, fn.states.length > 0 ? state?.symbols : undefined);
    this.#checkRanges(symbols);
    return symbols;
  }

  #checkRanges(symbols: DimBindings): void {
    for (const { name, min, max, multiple } of this.module.symbols) {
      const value = symbols[name];
      if (value === undefined || (value >= min && value <= max && value % multiple === 0)) continue;
      throw new QuaverError(
        'session-symbol-range',
        `${name} = ${value} is outside of what module '${this.module.name}' allows: ${min} to ${max}` +
          (multiple === 1 ? '' : `, multiples of ${multiple}`),
        { hint: 'Use a shorter sequence, or import the model with a longer context.', where: { symbol: name } },
      );
    }
  }

  #compile(name: string, signal?: AbortSignal): Promise<Compiled> {
    const known = this.#compiled.get(name);
    if (known) return known;
    const compiled = this.#compileNew(name, signal);
    this.#compiled.set(name, compiled);
    compiled.catch(() => this.#compiled.delete(name));
    return compiled;
  }

  async #compileNew(name: string, signal?: AbortSignal): Promise<Compiled> {
    const source = findFunction(this.module, name);
    if (!source) {
      throw new QuaverError('session-function-unknown', `module '${this.module.name}' has no function '${name}'`, {
        hint: `It has: ${this.module.functions.map((fn) => fn.name).join(', ')}.`,
      });
    }
    const legal = legalizeFunction(source, (node) => this.executor.supports(nodeView(node)), this.#registry);
    const assignments = assign(legal, this.executor);
    const fn = planMemory(legal);
    return { fn, program: await this.executor.compile(fn, signal), assignments };
  }

  async #load(functions: readonly string[], { signal, onProgress }: SessionOptions): Promise<void> {
    const used = new Set<string>();
    for (const name of functions) {
      for (const value of (await this.#compile(name)).fn.parameters) used.add(value.ref!);
    }
    const parameters = this.module.parameters.filter((parameter) => used.has(parameter.name));
    const totalBytes = parameters.reduce((sum, parameter) => sum + (parameter.data?.byteLength ?? 0), 0);
    let loadedBytes = 0;
    for (const { name, data } of parameters) {
      throwIfAborted(signal);
      if (!data) {
        throw new QuaverError('session-parameter-missing', `parameter '${name}' has no data`, {
          hint: 'The module is only a structure; read it from a .qvr file.',
          where: { tensor: name },
        });
      }
      const buffer = this.executor.allocate(data.byteLength, 'parameter');
      this.#parameters.set(name, buffer);
      await this.executor.upload(buffer, await data.read(signal));
      loadedBytes += data.byteLength;
      onProgress?.({ phase: 'load', parameter: name, loadedBytes, totalBytes });
    }
  }

  /** A buffer for one input or output, kept from call to call while the size stays the same. */
  #callBuffer(key: string, byteLength: number, usage: BufferUsage): DeviceBuffer {
    const known = this.#callBuffers.get(key);
    if (known?.byteLength === byteLength) return known;
    known?.dispose();
    const buffer = this.executor.allocate(byteLength, usage);
    this.#callBuffers.set(key, buffer);
    return buffer;
  }
}

function inputError(fn: string, input: string, problem: string): QuaverError {
  return new QuaverError('session-input', `input '${input}' of function '${fn}' ${problem}`, {
    where: { function: fn, input },
  });
}
