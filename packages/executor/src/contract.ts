/**
 * @file The contract between the SDK and anything that runs lowered graphs.
 *
 * An executor owns memory and programs. It is handed a lowered function, says op by op what it takes, and runs it.
 * Everything that crosses this boundary is plain data (types, attributes, bytes) or an opaque handle, so that an
 * executor may live in a worker, in another process, or in another language. Submission is in order; results are
 * visible after `wait`. Nothing falls back silently: what `supports` refuses is reported to the caller.
 */
import type { Attributes, DimBindings, DType, GraphFunction, Support, TensorType } from '@quaver/ir';

export type { Support } from '@quaver/ir';

/** A node as `supports` sees it: no values, only types, so that it can be sent anywhere. Shapes may be symbolic. */
export interface NodeView {
  readonly domain: string;
  readonly op: string;
  readonly version: number;
  readonly operands: readonly (TensorType | undefined)[];
  readonly results: readonly TensorType[];
  readonly attributes: Attributes;
}

export interface Capabilities {
  readonly dtypes: Readonly<Partial<Record<DType, 'native' | 'emulated'>>>;
  /** Bytes that one buffer may have, and that all buffers together may have. */
  readonly maxBufferBytes: number;
  readonly maxTotalBytes: number;
  /** A row's bits do not depend on the other rows, their number, or how the work was split. */
  readonly rowInvariant: boolean;
  /** The same program on the same data gives the same bits. */
  readonly deterministic: boolean;
}

export interface DeviceInfo {
  readonly id: string;
  readonly name: string;
  /** What runs and why, for `quaver doctor`: instruction set, threads, adapter, … */
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

/** What a buffer is for; executors choose the placement by it. */
export type BufferUsage = 'parameter' | 'state' | 'input' | 'output';

/**
 * Memory that an executor owns. `dispose` gives it back, once no submission that uses it is under way; using it
 * afterwards is an error. Sessions see to both.
 */
export interface DeviceBuffer {
  readonly byteLength: number;
  readonly usage: BufferUsage;
  dispose(): void;
}

/** A compiled function; `dispose` of it like of a buffer. */
export interface Program {
  readonly name: string;
  dispose(): void;
}

/** The buffers of one call, by the names of the function's inputs, parameters, states and outputs. */
export interface Bindings {
  readonly symbols: DimBindings;
  readonly inputs: Readonly<Record<string, DeviceBuffer>>;
  /** Those that the function updates are written, too: what was made of them before (packed forms, for example) is stale then. */
  readonly parameters: Readonly<Record<string, DeviceBuffer>>;
  /** Read and updated in place. */
  readonly states: Readonly<Record<string, DeviceBuffer>>;
  readonly outputs: Readonly<Record<string, DeviceBuffer>>;
}

/** Memory that a program takes at given sizes, besides its inputs, states and outputs. In bytes. */
export interface Footprint {
  /** Intermediates and scratch. Programs run one at a time: those of an executor share it, the largest counts. */
  readonly workspace: number;
  /**
   * The forms in which each of its parameters is kept, by parameter and by the form's name; what two programs read in the same
   * form is kept once. The form `bytes` is what was uploaded.
   */
  readonly parameterForms: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

/** Names one submission. */
export interface Fence {
  readonly id: number;
}

export interface DeviceLost {
  readonly reason: string;
}

/** Time one node took in the submissions since profiling began. */
export interface ProfileEvent {
  readonly op: string;
  readonly location: string;
  readonly milliseconds: number;
}

export interface Executor extends AsyncDisposable {
  readonly id: string;
  readonly device: DeviceInfo;
  readonly capabilities: Capabilities;
  supports(node: NodeView): Support;
  /** `fn` is verified, legalized for this executor and has a memory plan. */
  compile(fn: GraphFunction, signal?: AbortSignal): Promise<Program>;
  /**
   * Says which parameters the program will read, before they are uploaded: the executor can bring each into the form in
   * which it is read when it arrives, and keep no other. An executor that has nothing to prepare leaves this out.
   */
  prepare?(program: Program, parameters: Bindings['parameters'], signal?: AbortSignal): Promise<void>;
  /**
   * What running the program at these sizes will take; nothing is allocated. Of an executor without it the slots of the
   * memory plan are assumed, and parameters as they are.
   */
  footprint?(program: Program, symbols: DimBindings): Footprint;
  /** Zero-filled memory. @throws QuaverError `executor-out-of-memory` */
  allocate(byteLength: number, usage: BufferUsage): DeviceBuffer;
  upload(buffer: DeviceBuffer, bytes: Uint8Array): Promise<void>;
  download(buffer: DeviceBuffer): Promise<Uint8Array>;
  /**
   * What `download` would give, without a copy: memory of the executor (shared memory, perhaps), only to be read, and only
   * before the next call of the executor or the event loop. Undefined for buffers that the host cannot see; executors
   * without such buffers leave this out.
   */
  view?(buffer: DeviceBuffer): Uint8Array | undefined;
  /** Queues a run. `signal` stops it between nodes; states are then undefined until they are written again. */
  submit(program: Program, bindings: Bindings, signal?: AbortSignal): Fence;
  /** Settles when the submission has run; rejects with its error, or `aborted`. A fence is waited for once. */
  wait(fence: Fence): Promise<void>;
  /** Settles only if the device is lost; what is waited for then, and later, rejects. */
  readonly lost: Promise<DeviceLost>;
  profile?(): readonly ProfileEvent[];
}

/** What an executor package exports as `default`, or registers. */
export interface ExecutorPlugin {
  readonly apiVersion: 1;
  readonly id: string;
  listDevices(): Promise<readonly DeviceInfo[]>;
  open(options?: ExecutorOptions): Promise<Executor>;
}

export interface ExecutorOptions {
  /** The id of one of `listDevices()`; another is an error, `executor-device-unknown`. Default: the first. */
  readonly device?: string;
  /** Collect `profile()` events. */
  readonly profile?: boolean;
  /** Host threads to compute with; default all that there are. Executors without threads leave it. */
  readonly threads?: number;
  /**
   * `fast` sums in the usual unordered ways where the executor has them: it then does not promise row invariance. It is there
   * to measure what the canonical order costs, and to reproduce the mismatch of two engines.
   */
  readonly reduction?: 'canonical' | 'fast';
  readonly signal?: AbortSignal;
}
