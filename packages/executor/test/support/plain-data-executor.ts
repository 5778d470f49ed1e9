/**
 * @file An executor as a stranger might write it: it knows the public contract only, and everything it is given goes
 * through plain data. Functions are written to a file's bytes and read again, tensors are copied, buffers and fences
 * are its own. The work is done by the reference executor behind it. It counts what has not been given back.
 */
import {
  type Bindings,
  type BufferUsage,
  type DeviceBuffer,
  type Executor,
  type ExecutorPlugin,
  type Fence,
  type NodeView,
  type Program,
  referencePlugin,
  type Support,
} from '@quaver/executor';
import {
  dimSymbols,
  type GraphFunction,
  type Module,
  readModuleBytes,
  type Update,
  type Value,
  writeModuleBytes,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

interface Held {
  readonly inner: DeviceBuffer;
}

export class PlainDataExecutor implements Executor {
  readonly id = 'plain-data';
  readonly device: Executor['device'];
  readonly capabilities: Executor['capabilities'];
  readonly lost: Executor['lost'];
  /** Buffers and programs that nobody has disposed of. */
  readonly live = new Set<object>();
  /** Bytes that it gives before it is out of memory. */
  limit: number = Number.POSITIVE_INFINITY;
  disposed = false;
  readonly #inner: Executor;
  readonly #buffers = new Map<object, Held>();
  readonly #programs = new Map<object, Program>();
  readonly #fences = new Map<number, Fence>();
  #given = 0;

  constructor(inner: Executor) {
    this.#inner = inner;
    this.device = inner.device;
    this.capabilities = inner.capabilities;
    this.lost = inner.lost;
  }

  supports(node: NodeView): Support {
    return structuredClone(this.#inner.supports(structuredClone(node)));
  }

  async compile(fn: GraphFunction, signal?: AbortSignal): Promise<Program> {
    const bytes = await writeModuleBytes(wrap(fn));
    const inner = await this.#inner.compile(readModuleBytes(bytes).functions[0]!, signal);
    const program: Program = {
      name: inner.name,
      dispose: () => {
        inner.dispose();
        this.live.delete(program);
      },
    };
    this.#programs.set(program, inner);
    this.live.add(program);
    return program;
  }

  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer {
    if (this.#given + byteLength > this.limit) throw new QuaverError('executor-out-of-memory', 'no more');
    this.#given += byteLength;
    const inner = this.#inner.allocate(byteLength, usage);
    const buffer: DeviceBuffer = {
      byteLength,
      usage,
      dispose: () => {
        if (this.live.delete(buffer)) this.#given -= byteLength;
        inner.dispose();
      },
    };
    this.#buffers.set(buffer, { inner });
    this.live.add(buffer);
    return buffer;
  }

  upload(buffer: DeviceBuffer, bytes: Uint8Array): Promise<void> {
    return this.#inner.upload(this.#own(buffer), bytes.slice());
  }

  download(buffer: DeviceBuffer): Promise<Uint8Array> {
    return this.#inner.download(this.#own(buffer));
  }

  submit(program: Program, bindings: Bindings, signal?: AbortSignal): Fence {
    const own = (buffers: Readonly<Record<string, DeviceBuffer>>) =>
      Object.fromEntries(Object.entries(buffers).map(([name, buffer]) => [name, this.#own(buffer)]));
    const inner = this.#inner.submit(
      this.#programs.get(program)!,
      {
        symbols: structuredClone(bindings.symbols),
        inputs: own(bindings.inputs),
        parameters: own(bindings.parameters),
        states: own(bindings.states),
        outputs: own(bindings.outputs),
      },
      signal,
    );
    const fence: Fence = { id: 1000 + inner.id };
    this.#fences.set(fence.id, inner);
    return fence;
  }

  wait(fence: Fence): Promise<void> {
    return this.#inner.wait(this.#fences.get(fence.id)!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
    await this.#inner[Symbol.asyncDispose]();
  }

  #own(buffer: DeviceBuffer): DeviceBuffer {
    const held = this.#buffers.get(buffer);
    if (!held) throw new QuaverError('buffer-foreign', 'not one of mine');
    return held.inner;
  }
}

/** A module around one function: what the function refers to, by name and type. */
function wrap(fn: GraphFunction): Module {
  const values = [...fn.inputs, ...fn.states, ...fn.nodes.flatMap((node) => node.results)];
  const symbols = new Set(values.flatMap(({ type }) => type.shape.flatMap(dimSymbols)));
  // What is set without being read appears in the updates alone.
  const named = (kind: Update['target'], read: readonly Value[]) =>
    new Map([
      ...fn.updates.filter(({ target }) => target === kind).map(({ name, value }): [string, Value] => [name, value]),
      ...read.map((value): [string, Value] => [value.ref!, value]),
    ]);
  const states = named('state', fn.states);
  const parameters = named('parameter', fn.parameters);
  return {
    name: fn.name,
    symbols: [...symbols].map((name) => ({ name, min: 0, max: Number.POSITIVE_INFINITY, multiple: 1 })),
    parameters: [...parameters].map(([name, { type }]) => ({
      name,
      type: { dtype: type.dtype, shape: type.shape.map(Number) },
      data: undefined,
      trainable: false,
    })),
    states: [...states].map(([name, { type }]) => ({ name, type })),
    functions: [fn],
    metadata: {},
    attachments: new Map(),
  };
}

export async function openPlainData(): Promise<PlainDataExecutor> {
  return new PlainDataExecutor(await referencePlugin().open());
}

export const plainDataPlugin: ExecutorPlugin = {
  apiVersion: 1,
  id: 'plain-data',
  listDevices: async () => [{ id: 'elsewhere', name: 'somewhere else', details: {} }],
  open: openPlainData,
};
