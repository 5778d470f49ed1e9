/**
 * @file A session: one module on one executor. It compiles functions and uploads parameters once, owns state, and turns
 * named host tensors into a submission and back.
 */
import {
  bindSymbols,
  bindType,
  byteCount,
  type ConcreteType,
  coreOps,
  type DimBindings,
  evaluateDim,
  type GraphFunction,
  type HostTensor,
  type Module,
  type OpRegistry,
  type Value,
  viewHostArray,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { abortedError, throwIfAborted, untilAborted } from './abort.ts';
import { type Assignment, assign } from './assignment.ts';
import { CallBuffers } from './call-buffers.ts';
import { checkInputs } from './call-inputs.ts';
import type { Bindings, DeviceBuffer, Executor, Program } from './contract.ts';
import { legalizedFunction, parametersOf, statesOf } from './session-functions.ts';
import { SessionState } from './session-state.ts';

export interface SessionProgress {
  readonly phase: 'load';
  readonly parameter: string;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface SessionOptions {
  /** Functions that will be called; parameters that none of them uses are not loaded. Default: all. */
  readonly functions?: readonly string[];
  /** Parameters that are not loaded, because a function will write them before another reads them. They start as zeros. */
  readonly computed?: readonly string[];
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

export class Session implements AsyncDisposable {
  readonly module: Module;
  readonly executor: Executor;
  readonly #compiled = new Map<string, Compiled>();
  readonly #parameters = new Map<string, DeviceBuffer>();
  readonly #parametersByFunction = new Map<GraphFunction, Bindings['parameters']>();
  readonly #states = new Set<SessionState>();
  readonly #callBuffers: CallBuffers;
  /** Settles when the calls so far have ended: calls share input and output buffers, so they run one at a time. */
  #calls: Promise<void> = Promise.resolve();
  #disposed = false;

  private constructor(module: Module, executor: Executor) {
    this.module = module;
    this.executor = executor;
    this.#callBuffers = new CallBuffers(executor);
  }

  /**
   * Compiles functions and loads their parameters. The executor stays the caller's: dispose it after the session.
   * @throws QuaverError `session-function-unknown`, `session-parameter-missing`, `session-parameter-size`,
   *   `node-unsupported`, `executor-out-of-memory`, `aborted`, and what reading a parameter throws
   */
  static async open(module: Module, executor: Executor, options: SessionOptions = {}): Promise<Session> {
    const { functions = module.functions.map((fn) => fn.name), registry = coreOps, signal } = options;
    const session = new Session(module, executor);
    try {
      for (const name of new Set(functions)) await session.#compile(name, registry, signal);
      session.#allocateParameters();
      await session.#prepare(signal);
      await session.#load(options);
    } catch (error) {
      await session[Symbol.asyncDispose]();
      // Readers of parameters may throw the signal's own reason.
      throw signal?.aborted ? abortedError(signal) : error;
    }
    return session;
  }

  /**
   * Where every node of a function runs.
   * @throws QuaverError `session-function-unknown`
   */
  assignments(name: string): readonly Assignment[] {
    return this.#find(name).assignments;
  }

  /**
   * State for given sizes of its symbolic dimensions, zero-filled: the variables that the given functions have, by default
   * all. What a function writes beyond a size (tokens beyond the capacity C of a KV cache) is dropped: keep positions below it.
   * @throws QuaverError `session-function-unknown`, `session-symbol-range`, `dim-unbound`, `executor-out-of-memory`,
   *   `session-disposed`
   */
  createState(symbols: DimBindings = {}, functions?: readonly string[]): SessionState {
    this.#assertOpen();
    this.#checkRanges(symbols);
    const wanted = functions && new Set(functions.flatMap((name) => [...statesOf(this.#find(name).fn)]));
    const buffers: Record<string, DeviceBuffer> = {};
    try {
      for (const { name, type } of this.module.states) {
        if (wanted && !wanted.has(name)) continue;
        buffers[name] = this.executor.allocate(evaluateDim(byteCount(type), symbols), 'state');
      }
    } catch (error) {
      for (const buffer of Object.values(buffers)) buffer.dispose();
      throw error;
    }
    this.#forgetDisposedStates();
    const state = new SessionState(symbols, buffers);
    this.#states.add(state);
    return state;
  }

  /**
   * Calls a function. Symbols come from the shapes of the inputs and from the state. Calls run one at a time, in the
   * order in which they were made; inputs are read when their turn comes. After an abort the session can be used on,
   * but the contents of `state` are undefined until they are written again.
   * @throws QuaverError `session-function-unknown`, `session-input`, `session-output-unknown`, `shape-mismatch`,
   *   `session-symbol-range`, `session-state-missing`, `session-state-foreign`, `session-state-disposed`,
   *   `session-disposed`, `aborted`, and what the executor throws
   */
  async run(
    name: string,
    inputs: Readonly<Record<string, HostTensor>> = {},
    options: RunOptions = {},
  ): Promise<Record<string, HostTensor>> {
    return this.#call(name, inputs, options, (fn, bindings, outputs) => this.#download(fn, bindings, outputs));
  }

  /**
   * Calls a function as `run` does, and gives what `read` makes of its outputs. They are not copied where the executor lets
   * the host see them: `read` must neither change them nor call the executor, and they are gone when it returns.
   * @throws what `run` and `read` throw; TypeError when `read` gives a promise
   */
  async runAndRead<R>(
    name: string,
    inputs: Readonly<Record<string, HostTensor>> | undefined,
    options: RunOptions | undefined,
    read: (outputs: Record<string, HostTensor>) => R,
  ): Promise<R> {
    if (typeof read !== 'function') throw new TypeError('runAndRead: the fourth argument reads the outputs');
    return this.#call(name, inputs ?? {}, options ?? {}, async (fn, bindings, outputs) => {
      const result: R = read(await this.#see(fn, bindings, outputs));
      if (typeof (result as Partial<PromiseLike<unknown>> | undefined)?.then !== 'function') return result;
      throw new TypeError('runAndRead: what reads the outputs gave a promise; they are gone when it returns');
    });
  }

  async #call<R>(
    name: string,
    inputs: Readonly<Record<string, HostTensor>>,
    options: RunOptions,
    result: (fn: GraphFunction, bindings: Bindings, outputs: readonly string[]) => Promise<R>,
  ): Promise<R> {
    this.#assertOpen();
    const { fn, program } = this.#find(name);
    const { state, signal, outputs = fn.outputs.map((output) => output.name) } = options;
    this.#checkState(fn, state);
    checkInputs(fn, inputs);
    checkOutputs(fn, outputs);
    const symbols = this.#bind(fn, inputs, state);
    return this.#inTurn(signal, () =>
      withBuffers(fn, state, async (states) => {
        throwIfAborted(signal);
        const bindings: Bindings = {
          symbols,
          inputs: await this.#upload(fn, inputs),
          parameters: this.#parametersOf(fn),
          states,
          outputs: this.#outputBuffers(fn, symbols),
        };
        await this.executor.wait(this.executor.submit(program, bindings, signal));
        return await result(fn, bindings, outputs);
      }),
    );
  }

  /**
   * The bytes of a parameter as they are now, little-endian and row-major; after the calls that were made before.
   * @throws QuaverError `session-parameter-unknown`, `session-disposed`, `aborted`, and what the executor throws
   */
  async readParameter(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    const buffer = this.#parameter(name);
    return this.#inTurn(signal, () => this.executor.download(buffer));
  }

  /**
   * Replaces the bytes of a parameter, after the calls that were made before.
   * @throws QuaverError `session-parameter-unknown`, `buffer-size`, `session-disposed`, `aborted`, and what the executor throws
   */
  async writeParameter(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const buffer = this.#parameter(name);
    await this.#inTurn(signal, () => this.executor.upload(buffer, bytes));
  }

  /**
   * The bytes of one variable of a state.
   * @throws QuaverError `session-state-unknown`, `session-state-foreign`, `session-state-disposed`, `session-disposed`, `aborted`
   */
  async readState(state: SessionState, name: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#withStateBuffer(state, name, signal, (buffer) => this.executor.download(buffer));
  }

  /**
   * Replaces the bytes of one variable of a state.
   * @throws what `readState` throws; QuaverError `buffer-size`
   */
  async writeState(state: SessionState, name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#withStateBuffer(state, name, signal, (buffer) => this.executor.upload(buffer, bytes));
  }

  /** Waits for calls that were made, then gives back programs, parameters and states. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await this.#calls;
    for (const { program } of this.#compiled.values()) program.dispose();
    for (const buffer of this.#parameters.values()) buffer.dispose();
    for (const state of this.#states) state.dispose();
    this.#callBuffers.dispose();
    this.#compiled.clear();
    this.#parameters.clear();
    this.#parametersByFunction.clear();
    this.#states.clear();
  }

  #parameter(name: string): DeviceBuffer {
    this.#assertOpen();
    const buffer = this.#parameters.get(name);
    if (buffer) return buffer;
    throw new QuaverError('session-parameter-unknown', `no open function uses a parameter '${name}'`, {
      where: { tensor: name },
    });
  }

  async #withStateBuffer<T>(
    state: SessionState,
    name: string,
    signal: AbortSignal | undefined,
    work: (buffer: DeviceBuffer) => Promise<T>,
  ): Promise<T> {
    this.#assertOpen();
    this.#checkOwnState(state, 'it was asked about');
    if (!state.isDisposed && !state.has(name)) {
      throw new QuaverError('session-state-unknown', `the state has no variable '${name}'`, { where: { state: name } });
    }
    return this.#inTurn(signal, () => state.use((buffers) => work(buffers[name]!)));
  }

  /** Runs `call` when the calls before have ended. A signal stops the waiting at once, and a running call by itself. */
  async #inTurn<T>(signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
    const before = this.#calls;
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#calls = before.then(() => ended);
    try {
      await untilAborted(before, signal);
      return await call();
    } finally {
      end();
    }
  }

  async #upload(
    fn: GraphFunction,
    inputs: Readonly<Record<string, HostTensor>>,
  ): Promise<Record<string, DeviceBuffer>> {
    const buffers: Record<string, DeviceBuffer> = {};
    for (const { name } of fn.inputs) {
      const { buffer, byteOffset, byteLength } = inputs[name]!.data;
      const target = this.#callBuffers.get('input', fn.name, name, byteLength);
      await this.executor.upload(target, new Uint8Array(buffer, byteOffset, byteLength));
      buffers[name] = target;
    }
    return buffers;
  }

  #outputBuffers(fn: GraphFunction, symbols: DimBindings): Record<string, DeviceBuffer> {
    return Object.fromEntries(
      fn.outputs.map(({ name, value }) => {
        const byteLength = evaluateDim(byteCount(value.type), symbols);
        return [name, this.#callBuffers.get('output', fn.name, name, byteLength)];
      }),
    );
  }

  async #download(
    fn: GraphFunction,
    { symbols, outputs: buffers }: Bindings,
    wanted: readonly string[],
  ): Promise<Record<string, HostTensor>> {
    const results: Record<string, HostTensor> = {};
    for (const { name, value } of fn.outputs) {
      if (!wanted.includes(name)) continue;
      const type = bindType(value.type, symbols);
      results[name] = tensorOf(
        this.executor,
        'download',
        buffers[name]!,
        type,
        await this.executor.download(buffers[name]!),
      );
    }
    return results;
  }

  /** Like a download, in place where that is possible. */
  async #see(fn: GraphFunction, bindings: Bindings, wanted: readonly string[]): Promise<Record<string, HostTensor>> {
    const { executor } = this;
    const hidden = wanted.filter((name) => executor.view?.(bindings.outputs[name]!) === undefined);
    const downloaded = await this.#download(fn, bindings, hidden);
    // From here on nothing is waited for: views are taken last.
    return Object.fromEntries(
      fn.outputs
        .filter(({ name }) => wanted.includes(name))
        .map(({ name, value }) => [name, downloaded[name] ?? seen(executor, bindings, name, value)]),
    );
  }

  #bind(fn: GraphFunction, inputs: Readonly<Record<string, HostTensor>>, state: SessionState | undefined): DimBindings {
    const shapes = Object.fromEntries(fn.inputs.map(({ name }) => [name, inputs[name]!.type.shape]));
    const symbols = bindSymbols(fn, shapes, statesOf(fn).size > 0 ? state?.symbols : undefined);
    this.#checkRanges(symbols);
    return symbols;
  }

  #checkState(fn: GraphFunction, state: SessionState | undefined): void {
    const needed = statesOf(fn);
    if (needed.size === 0) return;
    if (!state) {
      throw new QuaverError('session-state-missing', `function '${fn.name}' has state, and none was given`, {
        hint: 'Make one with session.createState(…) and pass it as `state`.',
        where: { function: fn.name },
      });
    }
    this.#checkOwnState(state, `function '${fn.name}' was given`);
    for (const name of needed) if (!state.has(name)) throw stateLacks(fn, name);
  }

  #checkOwnState(state: SessionState, what: string): void {
    if (this.#states.has(state) || state.isDisposed) return;
    throw new QuaverError('session-state-foreign', `${what} the state of another session`, {
      hint: 'States belong to the session whose createState(…) made them.',
    });
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

  #find(name: string): Compiled {
    const compiled = this.#compiled.get(name);
    if (compiled) return compiled;
    throw new QuaverError('session-function-unknown', `function '${name}' is not open in this session`, {
      hint: `Open are: ${[...this.#compiled.keys()].join(', ')}. Name it in the session's option \`functions\`.`,
      where: { function: name },
    });
  }

  #assertOpen(): void {
    if (this.#disposed)
      throw new QuaverError('session-disposed', `a session of '${this.module.name}' is used after its end`);
  }

  #forgetDisposedStates(): void {
    for (const state of this.#states) if (state.isDisposed) this.#states.delete(state);
  }

  async #compile(name: string, registry: OpRegistry, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    const { legal, fn } = legalizedFunction(this.module, name, this.executor, registry);
    const program = await this.executor.compile(fn, signal);
    this.#compiled.set(name, { fn, program, assignments: assign(legal, this.executor) });
  }

  #allocateParameters(): void {
    for (const { name, type } of this.#usedParameters()) {
      this.#parameters.set(name, this.executor.allocate(evaluateDim(byteCount(type), {}), 'parameter'));
    }
  }

  #usedParameters(): Module['parameters'] {
    const used = new Set([...this.#compiled.values()].flatMap(({ fn }) => [...parametersOf(fn)]));
    return this.module.parameters.filter(({ name }) => used.has(name));
  }

  async #load({ computed = [], signal, onProgress }: SessionOptions): Promise<void> {
    const parameters = this.#usedParameters().filter(({ name }) => !computed.includes(name));
    const totalBytes = parameters.reduce((sum, { data }) => sum + (data?.byteLength ?? 0), 0);
    let loadedBytes = 0;
    for (const { name, data } of parameters) {
      throwIfAborted(signal);
      if (!data) {
        throw new QuaverError('session-parameter-missing', `parameter '${name}' has no data`, {
          hint: 'The module is only a structure; read it from a .qvr file.',
          where: { tensor: name },
        });
      }
      const bytes = await data.read(signal);
      const buffer = this.#parameters.get(name)!;
      if (bytes.byteLength !== buffer.byteLength) {
        throw new QuaverError(
          'session-parameter-size',
          `parameter '${name}' has ${bytes.byteLength} bytes of data, its type needs ${buffer.byteLength}`,
          { where: { tensor: name } },
        );
      }
      await this.executor.upload(buffer, bytes);
      loadedBytes += bytes.byteLength;
      onProgress?.({ phase: 'load', parameter: name, loadedBytes, totalBytes });
    }
  }

  async #prepare(signal: AbortSignal | undefined): Promise<void> {
    for (const { fn, program } of this.#compiled.values()) {
      throwIfAborted(signal);
      await this.executor.prepare?.(program, this.#parametersOf(fn), signal);
    }
  }

  /** Made once for each function: a model has hundreds, and a decoding step takes milliseconds. */
  #parametersOf(fn: GraphFunction): Bindings['parameters'] {
    let found = this.#parametersByFunction.get(fn);
    if (!found) {
      found = Object.fromEntries([...parametersOf(fn)].map((name) => [name, this.#parameters.get(name)!]));
      this.#parametersByFunction.set(fn, found);
    }
    return found;
  }
}

/** Holds the state's buffers, if the function has state, while `work` runs. */
function withBuffers<T>(
  fn: GraphFunction,
  state: SessionState | undefined,
  work: (states: Readonly<Record<string, DeviceBuffer>>) => Promise<T>,
): Promise<T> {
  return statesOf(fn).size > 0 && state ? state.use(work) : work({});
}

function stateLacks(fn: GraphFunction, name: string): QuaverError {
  return new QuaverError('session-state-incomplete', `function '${fn.name}' needs '${name}', which its state lacks`, {
    hint: `Name '${fn.name}' among the functions in session.createState(…).`,
    where: { function: fn.name, state: name },
  });
}

function checkOutputs(fn: GraphFunction, outputs: readonly string[]): void {
  const names: readonly string[] = Array.isArray(outputs) ? outputs : [`${String(outputs)} (no list)`];
  const unknown = names.find((name) => !fn.outputs.some((output) => output.name === name));
  if (unknown === undefined) return;
  throw new QuaverError('session-output-unknown', `function '${fn.name}' has no output '${unknown}'`, {
    hint: `Its outputs are: ${fn.outputs.map(({ name }) => name).join(', ')}.`,
    where: { function: fn.name, output: unknown },
  });
}

function seen(executor: Executor, { symbols, outputs }: Bindings, name: string, value: Value): HostTensor {
  const buffer = outputs[name]!;
  return tensorOf(executor, 'view', buffer, bindType(value.type, symbols), executor.view!(buffer));
}

/** Bytes that an executor gave for a buffer, looked at: executors come from anyone's package. */
function tensorOf(
  executor: Executor,
  method: 'download' | 'view',
  buffer: DeviceBuffer,
  type: ConcreteType,
  bytes: Uint8Array | undefined,
): HostTensor {
  if (bytes instanceof Uint8Array && bytes.byteLength === buffer.byteLength) {
    return { type, data: viewHostArray(type.dtype, bytes) };
  }
  const found = bytes instanceof Uint8Array ? `${bytes.byteLength} bytes` : 'no Uint8Array';
  throw new QuaverError(
    'executor-plugin-invalid',
    `executor '${executor.id}': ${method}() gave ${found} for a buffer of ${buffer.byteLength}`,
    { hint: 'See the interface Executor of @quaver/executor.', where: { executor: executor.id } },
  );
}
