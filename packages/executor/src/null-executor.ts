/**
 * @file The null executor: takes every node, moves bytes, computes nothing (outputs are zeros).
 * For timing the host side of a session and for testing code that drives executors.
 */
import { dtypes, type GraphFunction } from '@quaver/ir';
import { throwIfAborted } from './abort.ts';
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
  Program,
  Support,
} from './contract.ts';
import { chooseDevice } from './device.ts';
import { HostMemory, hostBufferLimit } from './host-memory.ts';
import { SubmissionQueue } from './submission-queue.ts';

const devices: readonly [DeviceInfo] = [{ id: 'null', name: 'null (computes nothing)', details: {} }];

class NullExecutor implements Executor {
  readonly id = 'null';
  readonly device: DeviceInfo;
  readonly capabilities: Capabilities = {
    dtypes: Object.fromEntries(dtypes.map((dtype) => [dtype, 'native'])),
    maxBufferBytes: hostBufferLimit,
    maxTotalBytes: Number.POSITIVE_INFINITY,
    rowInvariant: true,
    deterministic: true,
  };
  readonly lost: Promise<DeviceLost> = new Promise(() => undefined);
  readonly #queue = new SubmissionQueue();
  readonly #memory = new HostMemory();

  constructor(device: DeviceInfo) {
    this.device = device;
  }

  supports(): Support {
    return { ok: true, native: true };
  }

  async compile(fn: GraphFunction, signal?: AbortSignal): Promise<Program> {
    this.#queue.assertOpen();
    throwIfAborted(signal);
    return { name: fn.name, dispose: () => undefined };
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

  submit(_program: Program, _bindings: Bindings, signal?: AbortSignal): Fence {
    return this.#queue.submit(async () => throwIfAborted(signal));
  }

  wait(fence: Fence): Promise<void> {
    return this.#queue.wait(fence);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close();
  }
}

export const nullPlugin: ExecutorPlugin = {
  apiVersion: 1,
  id: 'null',
  listDevices: async () => devices,
  open: async (options) => {
    throwIfAborted(options?.signal);
    return new NullExecutor(chooseDevice('null', devices, options));
  },
};
