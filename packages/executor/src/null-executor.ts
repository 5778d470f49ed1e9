/**
 * @file The null executor: takes every node, moves bytes, computes nothing (outputs are zeros).
 * For timing the host side of a session and for testing code that drives executors.
 */
import { dtypes, type GraphFunction } from '@quaver/ir';
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
import { checkUpload, HostBuffer } from './host-buffer.ts';
import { SubmissionQueue, throwIfAborted } from './submission-queue.ts';

const device: DeviceInfo = { id: 'null', name: 'null (computes nothing)', details: {} };

class NullExecutor implements Executor {
  readonly id = 'null';
  readonly device: DeviceInfo = device;
  readonly capabilities: Capabilities = {
    dtypes: Object.fromEntries(dtypes.map((dtype) => [dtype, 'native'])),
    maxBufferBytes: 2 ** 32,
    maxTotalBytes: Number.POSITIVE_INFINITY,
    rowInvariant: true,
    deterministic: true,
  };
  readonly lost: Promise<DeviceLost> = new Promise(() => undefined);
  readonly #queue = new SubmissionQueue();

  supports(): Support {
    return { ok: true, native: true };
  }

  compile(fn: GraphFunction): Promise<Program> {
    return Promise.resolve({ name: fn.name, dispose: () => undefined });
  }

  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer {
    return new HostBuffer(byteLength, usage);
  }

  async upload(buffer: DeviceBuffer, bytes: Uint8Array): Promise<void> {
    checkUpload(buffer, bytes);
    (buffer as HostBuffer).bytes.set(bytes);
  }

  async download(buffer: DeviceBuffer): Promise<Uint8Array> {
    return (buffer as HostBuffer).bytes.slice();
  }

  submit(_program: Program, _bindings: Bindings, signal?: AbortSignal): Fence {
    return this.#queue.submit(async () => throwIfAborted(signal));
  }

  wait(fence: Fence): Promise<void> {
    return this.#queue.wait(fence);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.idle();
  }
}

export const nullPlugin: ExecutorPlugin = {
  apiVersion: 1,
  id: 'null',
  listDevices: () => Promise.resolve([device]),
  open: () => Promise.resolve(new NullExecutor()),
};
