import { byteCount, evaluateDim, type GraphFunction, type Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { throwIfAborted } from './abort.ts';
import type { Bindings, DeviceBuffer, Executor } from './contract.ts';
import { parametersOf } from './session-functions.ts';

export interface SessionProgress {
  readonly phase: 'load';
  readonly parameter: string;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface LoadOptions {
  /** Parameters that are not loaded, because a function will write them before another reads them. They start as zeros. */
  readonly computed?: readonly string[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SessionProgress) => void;
}

/** The parameters that the functions of a session use: one buffer each, loaded once. */
export class SessionParameters {
  readonly #executor: Executor;
  readonly #buffers = new Map<string, DeviceBuffer>();
  readonly #byFunction = new Map<GraphFunction, Bindings['parameters']>();
  #used: Module['parameters'] = [];

  constructor(executor: Executor) {
    this.#executor = executor;
  }

  /**
   * Makes room for what the functions read or set.
   * @throws QuaverError `executor-out-of-memory`
   */
  allocate(module: Module, functions: readonly GraphFunction[]): void {
    const used = new Set(functions.flatMap((fn) => [...parametersOf(fn)]));
    this.#used = module.parameters.filter(({ name }) => used.has(name));
    for (const { name, type } of this.#used) {
      this.#buffers.set(name, this.#executor.allocate(evaluateDim(byteCount(type), {}), 'parameter'));
    }
  }

  /** @throws QuaverError `session-parameter-missing`, `session-parameter-size`, `aborted`, and what reading a parameter throws */
  async load({ computed = [], signal, onProgress }: LoadOptions): Promise<void> {
    const parameters = this.#used.filter(({ name }) => !computed.includes(name));
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
      const buffer = this.#buffers.get(name)!;
      if (bytes.byteLength !== buffer.byteLength) {
        throw new QuaverError(
          'session-parameter-size',
          `parameter '${name}' has ${bytes.byteLength} bytes of data, its type needs ${buffer.byteLength}`,
          { where: { tensor: name } },
        );
      }
      await this.#executor.upload(buffer, bytes);
      loadedBytes += bytes.byteLength;
      onProgress?.({ phase: 'load', parameter: name, loadedBytes, totalBytes });
    }
  }

  /** @throws QuaverError `session-parameter-unknown` */
  buffer(name: string): DeviceBuffer {
    const buffer = this.#buffers.get(name);
    if (buffer) return buffer;
    throw new QuaverError('session-parameter-unknown', `no open function uses a parameter '${name}'`, {
      where: { tensor: name },
    });
  }

  /** Those of a function. Made once for each: a model has hundreds, and a decoding step takes milliseconds. */
  of(fn: GraphFunction): Bindings['parameters'] {
    let found = this.#byFunction.get(fn);
    if (!found) {
      found = Object.fromEntries([...parametersOf(fn)].map((name) => [name, this.#buffers.get(name)!]));
      this.#byFunction.set(fn, found);
    }
    return found;
  }

  dispose(): void {
    for (const buffer of this.#buffers.values()) buffer.dispose();
    this.#buffers.clear();
    this.#byFunction.clear();
  }
}
