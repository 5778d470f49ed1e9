import {
  type Bindings,
  type BufferUsage,
  type Capabilities,
  checkUpload,
  chooseDevice,
  type DeviceBuffer,
  type DeviceInfo,
  type DeviceLost,
  type Executor,
  type ExecutorOptions,
  type ExecutorPlugin,
  type Fence,
  type NodeView,
  type ProfileEvent,
  type Program,
  SubmissionQueue,
  type Support,
  throwIfAborted,
} from '@quaver/executor';
import { coreOps, type GraphFunction, type Node } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { CpuBuffer } from './cpu-buffer.ts';
import { findKernel } from './kernel-table.ts';
import { type Kernels, loadKernels } from './kernels.ts';
import { CpuProgram, profileEvents } from './program.ts';
import { WasmHeap } from './wasm-heap.ts';

const devices: readonly [DeviceInfo] = [
  { id: 'wasm', name: 'CPU (WebAssembly SIMD, 1 thread)', details: { isa: 'wasm-simd128', threads: 1 } },
];

const wasmBytes = 2 ** 32 - 65536;

/** Runs lowered graphs with WebAssembly SIMD kernels in the canonical order: the reference executor's bits. */
class CpuExecutor implements Executor {
  readonly id = 'cpu';
  readonly device: DeviceInfo;
  readonly capabilities: Capabilities = {
    dtypes: {
      f32: 'native',
      i32: 'native',
      bf16: 'native',
      f8e4m3fn: 'native',
      f8e5m2: 'native',
      f8e8m0fnu: 'native',
      f16: 'emulated',
      u8: 'emulated',
      bool: 'emulated',
    },
    maxBufferBytes: wasmBytes,
    maxTotalBytes: wasmBytes,
    rowInvariant: true,
    deterministic: true,
  };
  readonly lost: Promise<DeviceLost> = new Promise(() => undefined);
  readonly #queue = new SubmissionQueue();
  readonly #kernels: Kernels;
  readonly #heap: WasmHeap;
  readonly #times: Map<Node, number> | undefined;

  constructor(device: DeviceInfo, kernels: Kernels, profile: boolean) {
    this.device = device;
    this.#kernels = kernels;
    this.#heap = new WasmHeap(kernels);
    this.#times = profile ? new Map() : undefined;
  }

  supports(node: NodeView): Support {
    const op = coreOps.find(node.domain, node.op, node.version);
    if (!op)
      return { ok: false, code: 'op-unknown', reason: `${node.domain}.${node.op}@${node.version} is not a core op` };
    const kernel = findKernel(node);
    const support = kernel?.supports(node);
    if (support?.ok) return support;
    // A primitive that no kernel takes in this form still has its definition; a composite is expanded by the session.
    if (!op.isComposite) return { ok: true, native: false };
    return support ?? { ok: false, code: 'composite', reason: `${node.op} has no kernel; its body is run` };
  }

  async compile(fn: GraphFunction, signal?: AbortSignal): Promise<Program> {
    this.#queue.assertOpen();
    throwIfAborted(signal);
    return new CpuProgram(fn, this.#kernels, this.#heap, coreOps);
  }

  async prepare(program: Program, parameters: Bindings['parameters'], signal?: AbortSignal): Promise<void> {
    await this.#ownProgram(program).prepare(parameters, signal);
  }

  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer {
    this.#queue.assertOpen();
    return new CpuBuffer(this.#heap, byteLength, usage);
  }

  async upload(buffer: DeviceBuffer, bytes: Uint8Array): Promise<void> {
    checkUpload(buffer, bytes);
    this.#own(buffer).write(bytes);
  }

  async download(buffer: DeviceBuffer): Promise<Uint8Array> {
    return this.#own(buffer).read();
  }

  submit(program: Program, bindings: Bindings, signal?: AbortSignal): Fence {
    const own = this.#ownProgram(program);
    return this.#queue.submit(() => own.run(bindings, signal, this.#times));
  }

  wait(fence: Fence): Promise<void> {
    return this.#queue.wait(fence);
  }

  profile(): readonly ProfileEvent[] {
    return profileEvents(this.#times ?? new Map());
  }

  #ownProgram(program: Program): CpuProgram {
    if (program instanceof CpuProgram && program.heap === this.#heap) return program;
    throw new QuaverError('program-foreign', `program '${program.name}' was compiled by another executor`);
  }

  #own(buffer: DeviceBuffer): CpuBuffer {
    if (buffer instanceof CpuBuffer && buffer.heap === this.#heap) return buffer;
    throw new QuaverError('buffer-foreign', 'the buffer belongs to another executor');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close();
  }
}

export const cpuPlugin: ExecutorPlugin = {
  apiVersion: 1,
  id: 'cpu',
  listDevices: async () => devices,
  open: async (options: ExecutorOptions = {}) => {
    const device = chooseDevice('cpu', devices, options);
    throwIfAborted(options.signal);
    return new CpuExecutor(device, await loadKernels(), options.profile ?? false);
  },
};
