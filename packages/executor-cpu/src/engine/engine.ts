/**
 * @file What runs instructions: native code with threads, or WebAssembly. Both take the same images, because both are
 * compiled from the same sources (`native/program`), and both check them before anything runs.
 */

import type { DeviceLost } from '@quaver/executor';

/** Element formats that matrix kernels read; the codes are those of `native/kernels.h`. */
export type KernelFormat = 'f32' | 'bf16' | 'f8e4m3fn' | 'f8e5m2';
export type Fp8Format = 'f8e4m3fn' | 'f8e5m2';

export const formatCode: Readonly<Record<KernelFormat, number>> = { f32: 0, bf16: 1, f8e4m3fn: 2, f8e5m2: 3 };

/** Whether sums keep the canonical order, or the usual faster-looking ones without promises. */
export type Reduction = 'canonical' | 'fast';

/** Memory of an engine, zero-filled, aligned to 64 bytes. */
export interface EngineMemory {
  readonly byteLength: number;
  /** A view of all of it; take it anew after any allocation. */
  bytes(): Uint8Array;
  release(): void;
}

/** Where a run stopped because of its data. */
export interface RunFailure {
  readonly instruction: number;
  /** Which index, what it was, and the first value that is too large. */
  readonly position: number;
  readonly found: number;
  readonly limit: number;
}

/** A checked list of instructions over fixed memory. */
export interface LoadedCode {
  /**
   * Runs it off this thread, or with turns for the event loop. Resolves to what went wrong, if anything did.
   * @throws QuaverError `aborted`
   */
  run(signal: AbortSignal | undefined): Promise<RunFailure | undefined>;
  /** Seconds by instruction since it was loaded with `profile`. */
  seconds(): readonly number[];
  release(): void;
}

export interface Engine {
  /** Settles when the engine can run nothing more, because a thread of it died. */
  readonly lost: Promise<DeviceLost>;
  /** The instruction set: avx512bf16, avx512, avx2, neon, portable, simd128. */
  readonly isa: string;
  readonly threads: number;
  /** What the details of the device tell beyond these. */
  readonly details?: Readonly<Record<string, string>>;
  /** Bytes that one piece of memory, and all together, may have. */
  readonly maxBytes: number;
  /** The code of an op. @throws QuaverError `kernel-unknown` */
  opCode(name: string): number;
  /** Bytes of weights w[n, k] once packed, and of activations a[m, k] once staged for weights of a format. */
  packedBytes(format: KernelFormat, n: number, k: number): number;
  stagedBytes(a: KernelFormat, w: KernelFormat, m: number, k: number): number;
  /**
   * @param lasting what is read again and again until the model goes, such as packed weights: it may be placed where that is faster
   * @throws QuaverError `executor-out-of-memory`
   */
  allocate(byteLength: number, lasting?: boolean): EngineMemory;
  /** @throws QuaverError `kernel-argument` when an instruction is not one, or would leave its memory */
  load(image: Float64Array, memories: readonly EngineMemory[], profile: boolean): LoadedCode;
  close(): Promise<void>;
}
