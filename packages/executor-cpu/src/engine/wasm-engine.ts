/** @file The WebAssembly engine: instructions run on this thread, in slices, with turns for the event loop. */
import { TurnClock, throwIfAborted } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import {
  type Engine,
  type EngineMemory,
  formatCode,
  type KernelFormat,
  type LoadedCode,
  type RunFailure,
} from './engine.ts';
import { loadWasm, type WasmModule } from './load-wasm.ts';
import type { WasmExports } from './wasm-exports.ts';
import { WasmHeap } from './wasm-heap.ts';

/** What a slice costs, in the units of `native/program/op.h`: some milliseconds. */
const sliceCost = 1e7;
/** `struct Block` of native/program/program.h: an address, and a byte count of 64 bits at offset 8. */
const blockBytes = 16;

class WasmMemory implements EngineMemory {
  readonly byteLength: number;
  readonly pointer: number;
  readonly #heap: WasmHeap;

  constructor(heap: WasmHeap, byteLength: number) {
    this.byteLength = byteLength;
    this.#heap = heap;
    this.pointer = heap.allocate(byteLength);
    this.bytes().fill(0);
  }

  bytes(): Uint8Array {
    return this.#heap.view(this.pointer, this.byteLength);
  }

  release(): void {
    this.#heap.release(this.pointer);
  }
}

class WasmCode implements LoadedCode {
  readonly #wasm: WasmExports;
  readonly #run: number;
  readonly #own: readonly WasmMemory[];
  readonly #scratch: WasmMemory;
  readonly #seconds: number[];

  constructor(wasm: WasmExports, run: number, own: readonly WasmMemory[], scratch: WasmMemory, instructions: number) {
    this.#wasm = wasm;
    this.#run = run;
    this.#own = own;
    this.#scratch = scratch;
    this.#seconds = new Array(instructions).fill(0);
  }

  async run(signal: AbortSignal | undefined): Promise<RunFailure | undefined> {
    const { begin, step } = this.#wasm;
    const clock = new TurnClock();
    begin(this.#run, this.#scratch.pointer);
    while (step(this.#run, sliceCost)) {
      if (!clock.isDue) continue;
      await clock.turn();
      throwIfAborted(signal);
    }
    return this.#failure();
  }

  seconds(): readonly number[] {
    return this.#seconds;
  }

  release(): void {
    for (const memory of [...this.#own, this.#scratch]) memory.release();
  }

  #failure(): RunFailure | undefined {
    if (this.#wasm.failure_code(this.#run) === 0) return undefined;
    return {
      instruction: this.#wasm.failure_instruction(this.#run),
      position: this.#wasm.failure_position(this.#run),
      found: this.#wasm.failure_found(this.#run),
      limit: this.#wasm.failure_limit(this.#run),
    };
  }
}

export class WasmEngine implements Engine {
  readonly isa = 'simd128';
  readonly threads = 1;
  readonly maxBytes: number = 2 ** 32 - 65536;
  readonly #wasm: WasmExports;
  readonly #heap: WasmHeap;
  readonly #codes: ReadonlyMap<string, number>;

  private constructor({ memory, exports }: WasmModule) {
    this.#wasm = exports;
    this.#heap = new WasmHeap(memory, exports.__heap_base.value);
    this.#codes = new Map(
      Array.from({ length: exports.op_count() }, (_, code) => [this.#text(exports.op_name(code)), code]),
    );
  }

  /** @throws QuaverError `wasm-simd-missing`, `kernels-not-found` */
  static async open(): Promise<WasmEngine> {
    return new WasmEngine(await loadWasm());
  }

  opCode(name: string): number {
    const code = this.#codes.get(name);
    if (code !== undefined) return code;
    throw new QuaverError('kernel-unknown', `kernels.wasm has no op '${name}'`, {
      hint: 'The WebAssembly and the JavaScript are of different versions: install them anew.',
    });
  }

  packedBytes(format: KernelFormat, n: number, k: number): number {
    return this.#wasm.packed_bytes(formatCode[format], n, k) >>> 0;
  }

  stagedBytes(a: KernelFormat, w: KernelFormat, m: number, k: number): number {
    return this.#wasm.staged_bytes(formatCode[a], formatCode[w], m, k) >>> 0;
  }

  allocate(byteLength: number): WasmMemory {
    return new WasmMemory(this.#heap, byteLength);
  }

  load(image: Float64Array, memories: readonly EngineMemory[]): LoadedCode {
    const source = this.allocate(image.byteLength);
    const blocks = this.allocate(Math.max(1, memories.length) * blockBytes);
    const own: WasmMemory[] = [];
    try {
      source.bytes().set(new Uint8Array(image.buffer, image.byteOffset, image.byteLength));
      this.#writeBlocks(blocks, memories as readonly WasmMemory[]);
      const program = this.allocate(this.#wasm.run_bytes(source.pointer, image.length));
      own.push(program);
      const run = this.#wasm.load(program.pointer, source.pointer, image.length, blocks.pointer, memories.length);
      if (run === 0) throw this.#refused();
      return new WasmCode(this.#wasm, run, own, this.allocate(this.#wasm.scratch_bytes(run) >>> 0), image[0]!);
    } catch (error) {
      for (const memory of own) memory.release();
      throw error;
    } finally {
      source.release();
      blocks.release();
    }
  }

  async close(): Promise<void> {
    // The memory goes with the last reference to the module.
  }

  #writeBlocks(target: WasmMemory, memories: readonly WasmMemory[]): void {
    const { buffer, byteOffset } = target.bytes();
    const view = new DataView(buffer, byteOffset);
    for (const [i, { pointer, byteLength }] of memories.entries()) {
      view.setUint32(i * blockBytes, pointer, true);
      view.setBigUint64(i * blockBytes + 8, BigInt(byteLength), true);
    }
  }

  #refused(): QuaverError {
    const reason = this.#text(this.#wasm.error_reason());
    const instruction = this.#wasm.error_instruction();
    return new QuaverError('kernel-argument', `kernels.wasm refused a program: instruction ${instruction}: ${reason}`);
  }

  #text(pointer: number): string {
    const { bytes } = this.#heap;
    return new TextDecoder().decode(bytes.subarray(pointer, bytes.indexOf(0, pointer)));
  }
}
