/** @file An executor around another one, which a test can look into and meddle with. */
import type {
  Bindings,
  BufferUsage,
  DeviceBuffer,
  Executor,
  Fence,
  NodeView,
  Program,
  Support,
} from '@quaver/executor';
import type { GraphFunction } from '@quaver/ir';

export class WatchedExecutor implements Executor {
  readonly id: string;
  readonly device: Executor['device'];
  readonly capabilities: Executor['capabilities'];
  readonly lost: Executor['lost'];
  /** State buffers that are in use. */
  readonly liveStates = new Set<DeviceBuffer>();
  /** Names of the functions that ran, in order. */
  readonly calls: string[] = [];
  /** Called with every f32 output that is brought back from a run. */
  meddle: (fn: string, output: string, call: number, values: Float32Array) => void = () => undefined;
  readonly #inner: Executor;
  readonly #outputs = new Map<DeviceBuffer, { readonly fn: string; readonly output: string; readonly call: number }>();

  constructor(inner: Executor) {
    this.#inner = inner;
    this.id = inner.id;
    this.device = inner.device;
    this.capabilities = inner.capabilities;
    this.lost = inner.lost;
  }

  supports(node: NodeView): Support {
    return this.#inner.supports(node);
  }

  compile(fn: GraphFunction, signal?: AbortSignal): Promise<Program> {
    return this.#inner.compile(fn, signal);
  }

  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer {
    const buffer = this.#inner.allocate(byteLength, usage);
    if (usage !== 'state') return buffer;
    this.liveStates.add(buffer);
    const dispose = buffer.dispose.bind(buffer);
    buffer.dispose = () => {
      this.liveStates.delete(buffer);
      dispose();
    };
    return buffer;
  }

  upload(buffer: DeviceBuffer, bytes: Uint8Array): Promise<void> {
    return this.#inner.upload(buffer, bytes);
  }

  async download(buffer: DeviceBuffer): Promise<Uint8Array> {
    const bytes = await this.#inner.download(buffer);
    const { fn, output, call } = this.#outputs.get(buffer)!;
    this.meddle(fn, output, call, new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
    return bytes;
  }

  submit(program: Program, bindings: Bindings, signal?: AbortSignal): Fence {
    this.calls.push(program.name);
    const call = this.calls.filter((name) => name === program.name).length - 1;
    for (const [output, buffer] of Object.entries(bindings.outputs)) {
      this.#outputs.set(buffer, { fn: program.name, output, call });
    }
    return this.#inner.submit(program, bindings, signal);
  }

  wait(fence: Fence): Promise<void> {
    return this.#inner.wait(fence);
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#inner[Symbol.asyncDispose]();
  }
}
