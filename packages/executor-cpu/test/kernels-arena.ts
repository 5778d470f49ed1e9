import { expect } from 'vitest';
import { type Kernels, loadKernels } from '../src/kernels.ts';

const CANARY = 0xa5;
const MARGIN = 64;

/** Allocates tensors in the kernels' memory with canary bytes on both sides, and checks that no kernel wrote over them. */
export class Arena {
  readonly kernels: Kernels;
  #end: number;
  #margins: number[] = [];

  private constructor(kernels: Kernels) {
    this.kernels = kernels;
    this.#end = kernels.heapBase;
  }

  static async create(): Promise<Arena> {
    return new Arena(await loadKernels());
  }

  /** Forgets all tensors. */
  reset(): void {
    this.#end = this.kernels.heapBase;
    this.#margins = [];
  }

  /** Offset of `bytes` fresh bytes, a multiple of 16, filled with canary bytes so that unwritten output shows. */
  bytes(bytes: number): number {
    const at = Math.ceil((this.#end + MARGIN) / 16) * 16;
    this.kernels.reserve(at + bytes + MARGIN);
    new Uint8Array(this.kernels.memory.buffer, this.#end, at + bytes + MARGIN - this.#end).fill(CANARY);
    this.#margins.push(at - MARGIN, at + bytes);
    this.#end = at + bytes;
    return at;
  }

  /** Offset of a copy of `data`. */
  put(data: Float32Array | Uint16Array | Uint8Array | Int32Array): number {
    const at = this.bytes(data.byteLength);
    new Uint8Array(this.kernels.memory.buffer, at, data.byteLength).set(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    );
    return at;
  }

  /** A copy of `length` f32 at an offset. */
  f32(at: number, length: number): Float32Array {
    return new Float32Array(this.kernels.memory.buffer, at, length).slice();
  }
  u16(at: number, length: number): Uint16Array {
    return new Uint16Array(this.kernels.memory.buffer, at, length).slice();
  }
  u8(at: number, length: number): Uint8Array {
    return new Uint8Array(this.kernels.memory.buffer, at, length).slice();
  }

  expectCanariesIntact(): void {
    const memory = new Uint8Array(this.kernels.memory.buffer);
    for (const at of this.#margins)
      for (let i = at; i < at + MARGIN; i++)
        if (memory[i] !== CANARY) expect.fail(`byte ${i} beside a tensor was overwritten with ${memory[i]}`);
  }
}

/** The value of a f32 that canary bytes make: what an output element holds that no kernel wrote. */
export const UNWRITTEN: number = new Float32Array(Uint8Array.of(CANARY, CANARY, CANARY, CANARY).buffer)[0]!;

/** Compares bits; any NaN equals any NaN, because WebAssembly leaves their payload open. */
export function expectSameBits(actual: Float32Array, expected: Float32Array, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (let i = 0; i < expected.length; i++)
    if (!Object.is(actual[i], expected[i]))
      expect.fail(`${what}: element ${i} is ${actual[i]}, expected ${expected[i]}`);
}

/** A small seeded generator (xorshift32), so that a failure can be repeated. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed | 1;
  }
  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }
  /** In [0, 1). */
  unit(): number {
    return this.u32() / 2 ** 32;
  }
  /** An integer in [low, high]. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }
  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)]!;
  }
  /** Standard normal. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.unit())) * Math.cos(2 * Math.PI * this.unit());
  }
  f32s(length: number, next: () => number): Float32Array {
    return Float32Array.from({ length }, next);
  }
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.u32() >>> 24);
  }
}
