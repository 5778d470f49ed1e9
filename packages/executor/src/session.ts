/**
 * @file A session: one module on one executor. It compiles functions and uploads parameters once, owns state, and turns
 * named host tensors into a submission and back.
 */
import {
  bindSymbols,
  byteCount,
  coreOps,
  type DimBindings,
  evaluateDim,
  type GraphFunction,
  type HostTensor,
  type Module,
  type OpRegistry,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { abortedError, throwIfAborted, untilAborted } from './abort.ts';
import { type Assignment, assign } from './assignment.ts';
import { CallBuffers } from './call-buffers.ts';
import { checkInputs, checkRanges } from './call-inputs.ts';
import { checkOutputs, downloadOutputs, seeOutputs } from './call-outputs.ts';
import type { Bindings, DeviceBuffer, Executor, Program } from './contract.ts';
import { legalizedFunction, statesOf } from './session-functions.ts';
import { type LoadOptions, SessionParameters } from './session-parameters.ts';
import type { SessionState } from './session-state.ts';
import { SessionStates } from './session-states.ts';

export interface SessionOptions extends LoadOptions {
  /** Functions that will be called; parameters that none of them uses are not loaded. Default: all. */
  readonly functions?: readonly string[];
  readonly registry?: OpRegistry;
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
  readonly #parameters: SessionParameters;
  readonly #states: SessionStates;
  readonly #callBuffers: CallBuffers;
  /** Settles when the calls so far have ended: calls share input and output buffers, so they run one at a time. */
  #calls: Promise<void> = Promise.resolve();
  #disposed = false;

  private constructor(module: Module, executor: Executor) {
    this.module = module;
    this.executor = executor;
    this.#parameters = new SessionParameters(executor);
    this.#states = new SessionStates(executor);
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
      const compiled = [...session.#compiled.values()].map(({ fn }) => fn);
      session.#parameters.allocate(module, compiled);
      await session.#prepare(signal);
      await session.#parameters.load(options);
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
    checkRanges(this.module, symbols);
    const wanted = functions && new Set(functions.flatMap((name) => [...statesOf(this.#find(name).fn)]));
    return this.#states.create(this.module, symbols, wanted);
  }

  /**
   * Calls a function. Symbols come from the shapes of the inputs and from the state. Calls run one at a time, in the
   * order in which they were made; inputs are read when their turn comes. After an abort the session can be used on,
   * but the contents of `state` are undefined until they are written again.
   * @throws QuaverError `session-function-unknown`, `session-input`, `session-output-unknown`, `shape-mismatch`,
   *   `session-symbol-range`, `session-state-missing`, `session-state-incomplete`, `session-state-foreign`,
   *   `session-state-disposed`, `session-disposed`, `aborted`, and what the executor throws
   */
  async run(
    name: string,
    inputs: Readonly<Record<string, HostTensor>> = {},
    options: RunOptions = {},
  ): Promise<Record<string, HostTensor>> {
    return this.#call(name, inputs, options, (...call) => downloadOutputs(this.executor, ...call));
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
    return this.#call(name, inputs ?? {}, options ?? {}, async (...call) => {
      const result: R = read(await seeOutputs(this.executor, ...call));
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
    this.#states.checkFor(fn, state);
    checkInputs(fn, inputs);
    checkOutputs(fn, outputs);
    const symbols = this.#bind(fn, inputs, state);
    return this.#inTurn(signal, () =>
      withBuffers(fn, state, async (states) => {
        throwIfAborted(signal);
        const bindings: Bindings = {
          symbols,
          inputs: await this.#upload(fn, inputs),
          parameters: this.#parameters.of(fn),
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
    this.#assertOpen();
    const buffer = this.#parameters.buffer(name);
    return this.#inTurn(signal, () => this.executor.download(buffer));
  }

  /**
   * Replaces the bytes of a parameter, after the calls that were made before.
   * @throws QuaverError `session-parameter-unknown`, `buffer-size`, `session-disposed`, `aborted`, and what the executor throws
   */
  async writeParameter(name: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.#assertOpen();
    const buffer = this.#parameters.buffer(name);
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
    this.#parameters.dispose();
    this.#states.dispose();
    this.#callBuffers.dispose();
    this.#compiled.clear();
  }

  async #withStateBuffer<T>(
    state: SessionState,
    name: string,
    signal: AbortSignal | undefined,
    work: (buffer: DeviceBuffer) => Promise<T>,
  ): Promise<T> {
    this.#assertOpen();
    this.#states.checkOwn(state, 'it was asked about');
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

  #bind(fn: GraphFunction, inputs: Readonly<Record<string, HostTensor>>, state: SessionState | undefined): DimBindings {
    const shapes = Object.fromEntries(fn.inputs.map(({ name }) => [name, inputs[name]!.type.shape]));
    const symbols = bindSymbols(fn, shapes, statesOf(fn).size > 0 ? state?.symbols : undefined);
    checkRanges(this.module, symbols);
    return symbols;
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

  async #compile(name: string, registry: OpRegistry, signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    const { legal, fn } = legalizedFunction(this.module, name, this.executor, registry);
    const program = await this.executor.compile(fn, signal);
    this.#compiled.set(name, { fn, program, assignments: assign(legal, this.executor) });
  }

  async #prepare(signal: AbortSignal | undefined): Promise<void> {
    for (const { fn, program } of this.#compiled.values()) {
      throwIfAborted(signal);
      await this.executor.prepare?.(program, this.#parameters.of(fn), signal);
    }
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
