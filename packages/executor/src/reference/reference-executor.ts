/**
 * @file The reference executor: every op by its definition in the registry, in TypeScript, on the host.
 * It is slow and exact: the oracle that every other executor is compared with.
 */
import {
  bindType,
  coreOps,
  dtypes,
  type GraphFunction,
  type HostTensor,
  interpretFunction,
  type OpRegistry,
  type Value,
  viewHostArray,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type {
  Bindings,
  BufferUsage,
  Capabilities,
  DeviceBuffer,
  DeviceInfo,
  DeviceLost,
  Executor,
  ExecutorPlugin,
  Fence,
  NodeView,
  Program,
  Support,
} from '../contract.ts';
import { checkUpload, HostBuffer } from '../host-buffer.ts';
import { SubmissionQueue, throwIfAborted } from '../submission-queue.ts';

const device: DeviceInfo = { id: 'host', name: 'reference (TypeScript)', details: { threads: 1 } };

interface ReferenceProgram extends Program {
  readonly fn: GraphFunction;
}

class ReferenceExecutor implements Executor {
  readonly id = 'reference';
  readonly device: DeviceInfo = device;
  readonly capabilities: Capabilities = {
    dtypes: Object.fromEntries(dtypes.map((dtype) => [dtype, 'emulated'])),
    maxBufferBytes: 2 ** 32,
    maxTotalBytes: Number.POSITIVE_INFINITY,
    rowInvariant: true,
    deterministic: true,
  };
  readonly lost: Promise<DeviceLost> = new Promise(() => undefined);
  readonly #queue = new SubmissionQueue();
  readonly #registry: OpRegistry;

  constructor(registry: OpRegistry) {
    this.#registry = registry;
  }

  /** Primitives only: composites must arrive expanded, so that their bodies are what defines them. */
  supports(node: NodeView): Support {
    const op = this.#registry.get(node.domain, node.op, node.version);
    if (!op.isComposite) return { ok: true, native: false };
    return { ok: false, code: 'composite', reason: `${node.op} is a composite; the reference runs its body` };
  }

  compile(fn: GraphFunction): Promise<Program> {
    const program: ReferenceProgram = { name: fn.name, fn, dispose: () => undefined };
    return Promise.resolve(program);
  }

  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer {
    return new HostBuffer(byteLength, usage);
  }

  async upload(buffer: DeviceBuffer, bytes: Uint8Array): Promise<void> {
    checkUpload(buffer, bytes);
    own(buffer).bytes.set(bytes);
  }

  async download(buffer: DeviceBuffer): Promise<Uint8Array> {
    return own(buffer).bytes.slice();
  }

  submit(program: Program, bindings: Bindings, signal?: AbortSignal): Fence {
    const { fn } = program as ReferenceProgram;
    return this.#queue.submit(async () => {
      throwIfAborted(signal);
      this.#run(fn, bindings, signal);
    });
  }

  wait(fence: Fence): Promise<void> {
    return this.#queue.wait(fence);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.idle();
  }

  #run(fn: GraphFunction, bindings: Bindings, signal: AbortSignal | undefined): void {
    const tensor = (value: Value, buffer: DeviceBuffer | undefined): HostTensor => {
      if (!buffer) throw new QuaverError('binding-missing', `no buffer is bound to '${value.ref ?? value.name}'`);
      const type = bindType(value.type, bindings.symbols);
      return { type, data: viewHostArray(type.dtype, own(buffer).bytes) };
    };
    const byRef = (values: readonly Value[], buffers: Readonly<Record<string, DeviceBuffer>>) => (name: string) =>
      tensor(values.find((value) => value.ref === name)!, buffers[name]);
    const results = interpretFunction(
      fn,
      {
        inputs: Object.fromEntries(fn.inputs.map((value) => [value.name, tensor(value, bindings.inputs[value.name])])),
        parameters: byRef(fn.parameters, bindings.parameters),
        states: byRef(fn.states, bindings.states),
      },
      { registry: this.#registry, ...(signal ? { signal } : {}) },
    );
    store(results.outputs, bindings.outputs);
    store(results.states, bindings.states);
  }
}

function own(buffer: DeviceBuffer): HostBuffer {
  if (buffer instanceof HostBuffer) return buffer;
  throw new QuaverError('buffer-foreign', 'the buffer belongs to another executor');
}

function store(tensors: Readonly<Record<string, HostTensor>>, buffers: Readonly<Record<string, DeviceBuffer>>): void {
  for (const [name, { data }] of Object.entries(tensors)) {
    const buffer = buffers[name];
    if (buffer) own(buffer).bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}

/** The reference executor over a registry of ops; the core ops unless another is given. */
export function referencePlugin(registry: OpRegistry = coreOps): ExecutorPlugin {
  return {
    apiVersion: 1,
    id: 'reference',
    listDevices: () => Promise.resolve([device]),
    open: () => Promise.resolve(new ReferenceExecutor(registry)),
  };
}
