/**
 * @file The reference executor: every op by its definition in the registry, in TypeScript, on the host.
 * It is slow and exact: the oracle that every other executor is compared with.
 */
import {
  bindType,
  concreteElementCount,
  coreOps,
  dtypeBytes,
  dtypes,
  type GraphFunction,
  type HostTensor,
  type OpRegistry,
  type Value,
  viewHostArray,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { throwIfAborted } from '../abort.ts';
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
import { chooseDevice } from '../device.ts';
import { HostMemory, hostBufferLimit } from '../host-memory.ts';
import { SubmissionQueue } from '../submission-queue.ts';
import { evaluateFunction } from './evaluate-function.ts';

const devices: readonly [DeviceInfo] = [{ id: 'host', name: 'reference (TypeScript)', details: { threads: 1 } }];

class ReferenceProgram implements Program {
  readonly fn: GraphFunction;

  constructor(fn: GraphFunction) {
    this.fn = fn;
  }

  get name(): string {
    return this.fn.name;
  }

  dispose(): void {
    // Nothing is held but the function.
  }
}

class ReferenceExecutor implements Executor {
  readonly id = 'reference';
  readonly device: DeviceInfo;
  readonly capabilities: Capabilities = {
    dtypes: Object.fromEntries(dtypes.map((dtype) => [dtype, 'emulated'])),
    maxBufferBytes: hostBufferLimit,
    maxTotalBytes: Number.POSITIVE_INFINITY,
    rowInvariant: true,
    deterministic: true,
  };
  readonly lost: Promise<DeviceLost> = new Promise(() => undefined);
  readonly #queue = new SubmissionQueue();
  readonly #memory = new HostMemory();
  readonly #registry: OpRegistry;

  constructor(device: DeviceInfo, registry: OpRegistry) {
    this.device = device;
    this.#registry = registry;
  }

  /** Primitives only: composites must arrive expanded, so that their bodies are what defines them. */
  supports({ domain, op, version }: NodeView): Support {
    const definition = this.#registry.find(domain, op, version);
    if (!definition) return { ok: false, code: 'op-unknown', reason: `no op ${domain}.${op}@${version} is registered` };
    if (!definition.isComposite) return { ok: true, native: false };
    return { ok: false, code: 'composite', reason: `${op} is a composite; the reference runs its body` };
  }

  async compile(fn: GraphFunction, signal?: AbortSignal): Promise<Program> {
    this.#queue.assertOpen();
    throwIfAborted(signal);
    return new ReferenceProgram(fn);
  }

  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer {
    this.#queue.assertOpen();
    return this.#memory.allocate(byteLength, usage);
  }

  async upload(buffer: DeviceBuffer, bytes: Uint8Array): Promise<void> {
    this.#memory.write(buffer, bytes);
  }

  async download(buffer: DeviceBuffer): Promise<Uint8Array> {
    return this.#memory.bytes(buffer).slice();
  }

  view(buffer: DeviceBuffer): Uint8Array {
    return this.#memory.bytes(buffer);
  }

  submit(program: Program, bindings: Bindings, signal?: AbortSignal): Fence {
    if (!(program instanceof ReferenceProgram)) {
      throw new QuaverError('program-foreign', `program '${program.name}' was compiled by another executor`);
    }
    return this.#queue.submit(() => this.#run(program.fn, bindings, signal));
  }

  wait(fence: Fence): Promise<void> {
    return this.#queue.wait(fence);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close();
  }

  async #run(fn: GraphFunction, bindings: Bindings, signal: AbortSignal | undefined): Promise<void> {
    const bound = this.#bind(fn, bindings);
    const stores = [
      ...fn.outputs.map(({ name, value }) => ({ value, buffer: requireBuffer(name, bindings.outputs[name]) })),
      ...fn.updates.map(({ target, name, value }) => {
        const buffers = target === 'parameter' ? bindings.parameters : bindings.states;
        return { value, buffer: requireBuffer(name, buffers[name]) };
      }),
    ];
    const { symbols } = bindings;
    const values = await evaluateFunction({ fn, bound, symbols, registry: this.#registry, signal });
    // All results are copied before the first is stored: one may be a view of what another overwrites.
    const copies = stores.map(({ value, buffer }) => {
      const { data } = values.get(value)!;
      return { buffer, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice() };
    });
    for (const { buffer, bytes } of copies) this.#memory.write(buffer, bytes);
  }

  #bind(fn: GraphFunction, { symbols, inputs, parameters, states }: Bindings): Map<Value, HostTensor> {
    const bound = new Map<Value, HostTensor>();
    const bind = (value: Value, buffer: DeviceBuffer | undefined) => {
      const name = value.ref ?? value.name;
      const bytes = this.#memory.bytes(requireBuffer(name, buffer));
      const type = bindType(value.type, symbols);
      requireBytes(name, bytes.byteLength, concreteElementCount(type) * dtypeBytes[type.dtype]);
      bound.set(value, { type, data: viewHostArray(type.dtype, bytes) });
    };
    for (const value of fn.inputs) bind(value, inputs[value.name]);
    for (const value of fn.parameters) bind(value, parameters[value.ref!]);
    for (const value of fn.states) bind(value, states[value.ref!]);
    return bound;
  }
}

function requireBuffer(name: string, buffer: DeviceBuffer | undefined): DeviceBuffer {
  if (buffer) return buffer;
  throw new QuaverError('binding-missing', `no buffer is bound to '${name}'`, { where: { value: name } });
}

function requireBytes(name: string, found: number, expected: number): void {
  if (found === expected) return;
  throw new QuaverError('buffer-size', `'${name}' needs ${expected} bytes, its buffer has ${found}`, {
    where: { value: name },
  });
}

/** The reference executor over a registry of ops; the core ops unless another is given. */
export function referencePlugin(registry: OpRegistry = coreOps): ExecutorPlugin {
  return {
    apiVersion: 1,
    id: 'reference',
    listDevices: async () => devices,
    open: async (options) => {
      throwIfAborted(options?.signal);
      return new ReferenceExecutor(chooseDevice('reference', devices, options), registry);
    },
  };
}
