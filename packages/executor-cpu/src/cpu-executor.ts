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
  type Footprint,
  type NodeView,
  type ProfileEvent,
  type Program,
  SubmissionQueue,
  type Support,
  throwIfAborted,
} from '@quaver/executor';
import { coreOps, type DimBindings, type GraphFunction, type Node } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { Arena } from './arena.ts';
import { CpuBuffer } from './cpu-buffer.ts';
import { chooseNative, listDevices } from './devices.ts';
import type { Engine, Reduction } from './engine/engine.ts';
import { NativeEngine } from './engine/native-engine.ts';
import { WasmEngine } from './engine/wasm-engine.ts';
import { noticeFallback } from './fallback-notice.ts';
import { findKernel } from './kernel-table.ts';
import { CpuProgram, type ProgramContext, profileEvents } from './program.ts';
import { chooseThreads } from './threads.ts';

/** Runs lowered graphs with SIMD kernels in the canonical order: the reference executor's bits. */
class CpuExecutor implements Executor {
  readonly id = 'cpu';
  readonly device: DeviceInfo;
  readonly capabilities: Capabilities;
  readonly lost: Promise<DeviceLost>;
  readonly #queue = new SubmissionQueue();
  readonly #context: ProgramContext;
  readonly #programs = new Set<CpuProgram>();
  /** Of programs that were disposed. */
  readonly #times = new Map<Node, number>();

  constructor(device: DeviceInfo, engine: Engine, reduction: Reduction, profile: boolean) {
    this.device = device;
    this.lost = engine.lost;
    this.capabilities = {
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
      maxBufferBytes: engine.maxBytes,
      maxTotalBytes: engine.maxBytes,
      rowInvariant: reduction === 'canonical',
      deterministic: true,
    };
    const forget = (program: CpuProgram) => {
      this.#programs.delete(program);
      program.addTimes(this.#times);
    };
    // Programs run one at a time: none of them uses the memory when another one makes it larger.
    const arena = new Arena(engine, () => {
      for (const program of this.#programs) program.releaseBindings();
    });
    this.#context = { engine, arena, registry: coreOps, reduction, profile, forget };
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
    const program = new CpuProgram(fn, this.#context);
    this.#programs.add(program);
    return program;
  }

  async prepare(program: Program, parameters: Bindings['parameters'], signal?: AbortSignal): Promise<void> {
    await this.#ownProgram(program).prepare(parameters, signal);
  }

  footprint(program: Program, symbols: DimBindings): Footprint {
    return this.#ownProgram(program).footprint(symbols);
  }

  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer {
    this.#queue.assertOpen();
    return new CpuBuffer(this.#context.engine, byteLength, usage);
  }

  async upload(buffer: DeviceBuffer, bytes: Uint8Array): Promise<void> {
    checkUpload(buffer, bytes);
    await this.#own(buffer).write(bytes);
  }

  async download(buffer: DeviceBuffer): Promise<Uint8Array> {
    return this.#own(buffer).read();
  }

  view(buffer: DeviceBuffer): Uint8Array | undefined {
    return this.#own(buffer).view();
  }

  submit(program: Program, bindings: Bindings, signal?: AbortSignal): Fence {
    const own = this.#ownProgram(program);
    return this.#queue.submit(() => own.run(bindings, signal));
  }

  wait(fence: Fence): Promise<void> {
    return this.#queue.wait(fence);
  }

  profile(): readonly ProfileEvent[] {
    const times = new Map(this.#times);
    for (const program of this.#programs) program.addTimes(times);
    return profileEvents(times);
  }

  #ownProgram(program: Program): CpuProgram {
    if (program instanceof CpuProgram && program.context === this.#context) return program;
    throw new QuaverError('program-foreign', `program '${program.name}' was compiled by another executor`);
  }

  #own(buffer: DeviceBuffer): CpuBuffer {
    if (buffer instanceof CpuBuffer && buffer.engine === this.#context.engine) return buffer;
    throw new QuaverError('buffer-foreign', 'the buffer belongs to another executor');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.close();
    this.#context.arena.release();
    await this.#context.engine.close();
  }
}

/** Memory beyond this share of the machine's would be swapped, or end the process. */
const memoryShare = 0.9;

async function openEngine(device: DeviceInfo, threads: number): Promise<Engine> {
  const choice = chooseNative();
  if (device.id === 'wasm' || 'reason' in choice) return WasmEngine.open(threads);
  const os = globalThis.process.getBuiltinModule('node:os');
  // In a container the limit is the container's; where there is none, the number is 0 or larger than the machine.
  const limit = globalThis.process.constrainedMemory?.() || Number.POSITIVE_INFINITY;
  const maxBytes = Math.floor(Math.min(os.totalmem(), limit) * memoryShare);
  return new NativeEngine(choice.addon, { isa: choice.isa, threads, maxBytes });
}

export const cpuPlugin: ExecutorPlugin = {
  apiVersion: 1,
  id: 'cpu',
  listDevices: async () => listDevices(),
  open: async (options: ExecutorOptions = {}) => {
    const { reduction = 'canonical' } = options;
    if (reduction !== 'canonical' && reduction !== 'fast') {
      throw new QuaverError('executor-option', `reduction is '${String(reduction)}', expected 'canonical' or 'fast'`);
    }
    const device = chooseDevice('cpu', listDevices(options.threads), options);
    throwIfAborted(options.signal);
    if (options.device === undefined) noticeFallback();
    const engine = await openEngine(device, chooseThreads(options.threads));
    // What the list says of the machine's threads need not hold for the number that was asked for.
    const { why_fewer_threads: _, ...details } = device.details;
    const { name } = device;
    const threads = `${engine.threads} ${engine.threads === 1 ? 'thread' : 'threads'}`;
    const opened = {
      id: device.id,
      name: name.replace(/\d+ threads?/, threads),
      details: {
        ...details,
        threads: engine.threads,
        ...engine.details,
        ...('threads_from' in details && options.threads !== undefined ? { threads_from: 'the option threads' } : {}),
      },
    };
    return new CpuExecutor(opened, engine, reduction, options.profile ?? false);
  },
};
