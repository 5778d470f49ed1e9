/** @file The native engine: instructions run on threads of its own; the event loop only hears about the end. */
import { abortedError, type DeviceLost, throwIfAborted } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import {
  type Engine,
  type EngineMemory,
  formatCode,
  type KernelFormat,
  type LoadedCode,
  type RunFailure,
} from './engine.ts';
import type { Addon, EngineHandle, ProgramHandle } from './load-addon.ts';

export interface NativeOptions {
  readonly isa: string;
  readonly threads: number;
  /** Bytes that all memory together may have. */
  readonly maxBytes: number;
}

class NativeMemory implements EngineMemory {
  readonly byteLength: number;
  readonly buffer: ArrayBuffer;
  readonly #release: () => void;

  constructor(byteLength: number, buffer: ArrayBuffer, release: () => void) {
    this.byteLength = byteLength;
    this.buffer = buffer;
    this.#release = release;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.buffer, 0, this.byteLength);
  }

  release(): void {
    this.#release();
  }
}

class NativeCode implements LoadedCode {
  readonly #addon: Addon;
  readonly #program: ProgramHandle;

  constructor(addon: Addon, program: ProgramHandle) {
    this.#addon = addon;
    this.#program = program;
  }

  run(signal: AbortSignal | undefined): Promise<RunFailure | undefined> {
    throwIfAborted(signal);
    return new Promise((resolve, reject) => {
      const stop = () => this.#addon.stop(this.#program);
      const end = (failure: readonly number[] | null | undefined) => {
        signal?.removeEventListener('abort', stop);
        if (failure === null) reject(signal?.aborted ? abortedError(signal) : stopped());
        else if (failure === undefined) resolve(undefined);
        else {
          const [, instruction, position, found, limit] = failure as readonly [number, number, number, number, number];
          resolve({ instruction, position, found, limit });
        }
      };
      signal?.addEventListener('abort', stop, { once: true });
      try {
        this.#addon.run(this.#program, end);
      } catch (cause) {
        signal?.removeEventListener('abort', stop);
        reject((cause as { code?: string }).code === 'engine-closed' ? stopped() : refusedRun(cause));
      }
    });
  }

  seconds(): readonly number[] {
    return this.#addon.seconds(this.#program);
  }

  release(): void {
    this.#addon.unload(this.#program);
  }
}

function stopped(): QuaverError {
  return new QuaverError('executor-disposed', 'the executor ended while a program ran', {
    hint: 'Wait for what was submitted before you dispose the executor.',
  });
}

function refusedRun(cause: unknown): QuaverError {
  return new QuaverError('program-disposed', `the native engine does not run a program: ${(cause as Error).message}`, {
    cause,
  });
}

function openHandle(addon: Addon, isa: string, threads: number): EngineHandle {
  try {
    return addon.open(isa, threads);
  } catch (cause) {
    throw new QuaverError('executor-threads', `the native engine does not start: ${(cause as Error).message}`, {
      hint: 'Raise the limit of threads (ulimit -u), or set QUAVER_CPU_ISA=wasm.',
      cause,
    });
  }
}

export class NativeEngine implements Engine {
  readonly isa: string;
  readonly threads: number;
  readonly maxBytes: number;
  /** Native threads do not die alone. */
  readonly lost: Promise<DeviceLost> = new Promise(() => undefined);
  readonly #addon: Addon;
  readonly #handle: EngineHandle;
  readonly #codes: ReadonlyMap<string, number>;
  #allocated = 0;
  #closed = false;

  constructor(addon: Addon, { isa, threads, maxBytes }: NativeOptions) {
    this.#addon = addon;
    this.isa = isa;
    this.maxBytes = maxBytes;
    this.#handle = openHandle(addon, isa, threads);
    // The system may grant fewer threads than were asked for.
    this.threads = addon.threads(this.#handle);
    this.#codes = new Map(addon.ops().map((name, code) => [name, code]));
  }

  opCode(name: string): number {
    const code = this.#codes.get(name);
    if (code !== undefined) return code;
    throw new QuaverError('kernel-unknown', `the native engine has no op '${name}'`, {
      hint: 'The addon and the JavaScript are of different versions: install them anew.',
    });
  }

  packedBytes(format: KernelFormat, n: number, k: number): number {
    return this.#addon.packedBytes(this.#handle, formatCode[format], n, k);
  }

  stagedBytes(a: KernelFormat, w: KernelFormat, m: number, k: number): number {
    return this.#addon.stagedBytes(this.#handle, formatCode[a], formatCode[w], m, k);
  }

  allocate(byteLength: number, lasting = false): EngineMemory {
    const buffer =
      this.#allocated + byteLength <= this.maxBytes ? this.#addon.allocate(this.#handle, byteLength, lasting) : null;
    if (!buffer) throw this.#outOfMemory(byteLength);
    this.#allocated += byteLength;
    let released = false;
    return new NativeMemory(byteLength, buffer, () => {
      if (released) return;
      released = true;
      this.#allocated -= byteLength;
      // Of a closed engine it goes with the last reference to it.
      if (!this.#closed) this.#addon.release(this.#handle, buffer);
    });
  }

  load(image: Float64Array, memories: readonly EngineMemory[], profile: boolean): LoadedCode {
    const buffers = memories.map((memory) => (memory as NativeMemory).buffer);
    try {
      return new NativeCode(this.#addon, this.#addon.load(this.#handle, image, buffers, profile));
    } catch (cause) {
      const { code, message } = cause as Error & { code?: string };
      if (code === 'out-of-memory') throw this.#outOfMemory(0, cause);
      throw new QuaverError('kernel-argument', `the native engine refused a program: ${message}`, { cause });
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#addon.close(this.#handle);
  }

  #outOfMemory(byteLength: number, cause?: unknown): QuaverError {
    return new QuaverError('executor-out-of-memory', `the CPU executor cannot get ${byteLength} more bytes`, {
      hint: `It has ${this.#allocated} of at most ${this.maxBytes}. Use a smaller model, context or batch.`,
      cause,
    });
  }
}
