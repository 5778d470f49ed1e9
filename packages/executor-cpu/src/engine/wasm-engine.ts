/**
 * @file The WebAssembly engine. With threads, workers run the instructions; without, they run on this thread, in slices, with
 * turns for the event loop.
 */
import { type DeviceLost, TurnClock, throwIfAborted } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import {
  type Engine,
  type EngineMemory,
  formatCode,
  type KernelFormat,
  type LoadedCode,
  type RunFailure,
} from './engine.ts';
import { loadThreadedWasm, loadWasm, type Wasm } from './load-wasm.ts';
import type { WasmExports } from './wasm-exports.ts';
import { WasmHeap } from './wasm-heap.ts';
import { WasmTeam } from './wasm-team.ts';
import { whyNoThreads } from './wasm-thread.ts';

/** What a slice costs, in the units of `native/program/op.h`: some milliseconds. */
const sliceCost = 1e7;
/** `struct Block` of native/program/program.h: an address, and a byte count of 64 bits at offset 8. */
const blockBytes = 16;

class WasmMemory implements EngineMemory {
  readonly byteLength: number;
  readonly pointer: number;
  readonly #heap: WasmHeap;
  #users = 0;
  #released = false;

  constructor(heap: WasmHeap, byteLength: number) {
    this.byteLength = byteLength;
    this.#heap = heap;
    this.pointer = heap.allocate(byteLength);
    this.bytes().fill(0);
  }

  bytes(): Uint8Array {
    return this.#heap.view(this.pointer, this.byteLength);
  }

  /** A program that runs keeps what it reads and writes. */
  pin(): void {
    this.#users++;
  }

  unpin(): void {
    this.#users--;
    if (this.#released && this.#users === 0) this.#heap.release(this.pointer);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (this.#users === 0) this.#heap.release(this.pointer);
  }
}

/** What a program has of the heap. */
interface CodeMemory {
  readonly program: WasmMemory;
  readonly scratch: WasmMemory;
  readonly seconds: WasmMemory | undefined;
}

class WasmCode implements LoadedCode {
  readonly #wasm: WasmExports;
  readonly #team: WasmTeam | undefined;
  readonly #run: number;
  readonly #memory: CodeMemory;
  readonly #pinned: readonly WasmMemory[];

  constructor(
    wasm: WasmExports,
    team: WasmTeam | undefined,
    run: number,
    memory: CodeMemory,
    blocks: readonly WasmMemory[],
  ) {
    this.#pinned = [...blocks, memory.program, memory.scratch, ...(memory.seconds ? [memory.seconds] : [])];
    this.#wasm = wasm;
    this.#team = team;
    this.#run = run;
    this.#memory = memory;
    wasm.equip(run, memory.scratch.pointer, memory.seconds?.pointer ?? 0);
  }

  async run(signal: AbortSignal | undefined): Promise<RunFailure | undefined> {
    throwIfAborted(signal);
    for (const memory of this.#pinned) memory.pin();
    try {
      return await this.#runToEnd(signal);
    } finally {
      for (const memory of this.#pinned) memory.unpin();
    }
  }

  seconds(): readonly number[] {
    const bytes = this.#memory.seconds?.bytes();
    return bytes ? [...new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)] : [];
  }

  release(): void {
    const { program, scratch, seconds } = this.#memory;
    for (const memory of [program, scratch, seconds]) memory?.release();
  }

  async #runToEnd(signal: AbortSignal | undefined): Promise<RunFailure | undefined> {
    this.#wasm.begin(this.#run);
    if (this.#team) await this.#runOn(this.#team, signal);
    else await this.#runHere(signal);
    const failure = this.#failure();
    // A run that was stopped may have ended anywhere.
    if (!failure) throwIfAborted(signal);
    return failure;
  }

  async #runOn(team: WasmTeam, signal: AbortSignal | undefined): Promise<void> {
    const stop = () => this.#wasm.stop(this.#run);
    signal?.addEventListener('abort', stop, { once: true });
    try {
      await team.run(this.#run);
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  async #runHere(signal: AbortSignal | undefined): Promise<void> {
    const clock = new TurnClock();
    while (this.#wasm.step(this.#run, sliceCost)) {
      if (!clock.isDue) continue;
      await clock.turn();
      throwIfAborted(signal);
    }
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

/** Ends the threads of engines that nobody closed. */
const forgotten = new FinalizationRegistry<WasmTeam>((team) => void team.close());

export class WasmEngine implements Engine {
  readonly isa = 'simd128';
  readonly lost: Promise<DeviceLost>;
  readonly threads: number;
  readonly maxBytes: number;
  readonly details: Readonly<Record<string, string>>;
  readonly #wasm: WasmExports;
  readonly #heap: WasmHeap;
  readonly #team: WasmTeam | undefined;
  readonly #codes: ReadonlyMap<string, number>;

  private constructor({ exports, maxBytes }: Wasm, heap: WasmHeap, team: WasmTeam | undefined, shortage?: string) {
    this.threads = team?.threads ?? 1;
    this.lost = team?.lost ?? new Promise(() => undefined);
    this.maxBytes = maxBytes;
    this.details = shortage === undefined ? {} : { why_fewer_threads: shortage };
    this.#wasm = exports;
    this.#heap = heap;
    this.#team = team;
    if (team) forgotten.register(this, team, this);
    this.#codes = new Map(
      Array.from({ length: exports.op_count() }, (_, code) => [this.#text(exports.op_name(code)), code]),
    );
  }

  /**
   * With so many threads, or as many as there can be: a detail tells why there are fewer.
   * @throws QuaverError `wasm-simd-missing`, `kernels-not-found`
   */
  static async open(threads = 1): Promise<WasmEngine> {
    const reason = threads > 1 ? whyNoThreads() : undefined;
    if (threads === 1 || reason !== undefined) return WasmEngine.#openAlone(reason);
    try {
      const wasm = await loadThreadedWasm();
      const heap = new WasmHeap(wasm.memory, wasm.exports.__heap_base.value);
      const team = await WasmTeam.open(wasm, heap, threads);
      return new WasmEngine(wasm, heap, team, team.shortage);
    } catch (error) {
      return WasmEngine.#openAlone((error as Error).message);
    }
  }

  static async #openAlone(reason: string | undefined): Promise<WasmEngine> {
    const wasm = await loadWasm();
    return new WasmEngine(wasm, new WasmHeap(wasm.memory, wasm.exports.__heap_base.value), undefined, reason);
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

  load(image: Float64Array, memories: readonly EngineMemory[], profile: boolean): LoadedCode {
    const source = this.allocate(image.byteLength);
    const blocks = this.allocate(Math.max(1, memories.length) * blockBytes);
    const own: WasmMemory[] = [];
    try {
      source.bytes().set(new Uint8Array(image.buffer, image.byteOffset, image.byteLength));
      this.#writeBlocks(blocks, memories as readonly WasmMemory[]);
      const take = (byteLength: number) => {
        const memory = this.allocate(byteLength);
        own.push(memory);
        return memory;
      };
      const program = take(this.#wasm.run_bytes(source.pointer, image.length) >>> 0);
      const { length } = memories;
      const run = this.#wasm.load(program.pointer, this.threads, source.pointer, image.length, blocks.pointer, length);
      if (run === 0) throw this.#refused();
      const scratch = take((this.#wasm.scratch_bytes(run) >>> 0) * this.threads);
      const seconds = profile ? take(8 * image[0]!) : undefined;
      return new WasmCode(
        this.#wasm,
        this.#team,
        run,
        { program, scratch, seconds },
        memories as readonly WasmMemory[],
      );
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
    forgotten.unregister(this);
    await this.#team?.close();
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
    // A copy: decoders refuse shared memory.
    return new TextDecoder().decode(bytes.slice(pointer, bytes.indexOf(0, pointer)));
  }
}
