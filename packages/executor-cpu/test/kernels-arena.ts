/** @file Tensors of a test in an engine's memory, between bytes that nobody may write. */
import { expect } from 'vitest';
import { CodeBuilder, type Ref } from '../src/code/code-builder.ts';
import type { Engine, EngineMemory, RunFailure } from '../src/engine/engine.ts';
import type { EngineKind } from './engines.ts';
import { Kernels } from './kernels-calls.ts';

const CANARY = 0xa5;
const ALIGNMENT = 64;
const ARENA_BYTES = 80 * 2 ** 20;

/** Where a tensor begins: a multiple of 64. */
export type At = number;
export type Tensor = Float32Array | Uint16Array | Uint8Array | Int32Array;

/** An instruction: its op, its pointers and its numbers. */
export type Call = readonly [op: string, refs: readonly (At | undefined)[], numbers: readonly number[]];

/** Places tensors with canary bytes on both sides, runs instructions on them, and checks that none wrote over those. */
export class Arena {
  readonly engine: Engine;
  readonly kernels: Kernels;
  readonly #memory: EngineMemory;
  #end = 0;
  #margins: (readonly [from: number, to: number])[] = [];

  constructor(engine: Engine, byteLength = ARENA_BYTES) {
    this.engine = engine;
    this.kernels = new Kernels(this);
    this.#memory = engine.allocate(byteLength);
  }

  static async open(kind: EngineKind): Promise<Arena> {
    return new Arena(await kind.open());
  }

  async close(): Promise<void> {
    await this.engine.close();
  }

  /** Forgets all tensors. */
  reset(): void {
    this.#end = 0;
    this.#margins = [];
  }

  /** The place of `bytes` fresh bytes, filled with canary bytes so that unwritten output shows. */
  bytes(bytes: number): At {
    const at = Math.ceil(this.#end / ALIGNMENT) * ALIGNMENT + ALIGNMENT;
    const end = at + bytes + ALIGNMENT;
    if (end > this.#memory.byteLength) throw new Error(`the arena of the tests is too small: ${end} bytes`);
    this.#memory.bytes().fill(CANARY, this.#end, end);
    this.#margins.push([at - ALIGNMENT, at], [at + bytes, end]);
    this.#end = at + bytes;
    return at;
  }

  /** The place of a copy of `data`. */
  put(data: Tensor): At {
    const at = this.bytes(data.byteLength);
    this.#memory.bytes().set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    return at;
  }

  /** Overwrites bytes that are there. */
  fill(value: number, from: number, to: number): void {
    this.#memory.bytes().fill(value, from, to);
  }

  u8(at: At, length: number): Uint8Array {
    return this.#memory.bytes().slice(at, at + length);
  }
  f32(at: At, length: number): Float32Array {
    return new Float32Array(this.u8(at, 4 * length).buffer);
  }
  u16(at: At, length: number): Uint16Array {
    return new Uint16Array(this.u8(at, 2 * length).buffer);
  }

  /** Runs instructions as one program, which must not fail. */
  async run(...calls: readonly Call[]): Promise<void> {
    expect(await this.attempt(...calls)).toBeUndefined();
  }

  /** Runs instructions as one program. */
  async attempt(...calls: readonly Call[]): Promise<RunFailure | undefined> {
    const code = new CodeBuilder(this.engine);
    for (const [op, refs, numbers] of calls) {
      code.emit(
        op,
        refs.map((offset): Ref | undefined => (offset === undefined ? undefined : { memory: this.#memory, offset })),
        numbers,
      );
    }
    const [segment] = code.finish(this.#memory);
    if (typeof segment !== 'object') return undefined;
    const loaded = this.engine.load(segment.image, segment.memories, false);
    try {
      return await loaded.run(undefined);
    } finally {
      loaded.release();
    }
  }

  expectCanariesIntact(): void {
    const memory = this.#memory.bytes();
    for (const [from, to] of this.#margins)
      for (let i = from; i < to; i++)
        if (memory[i] !== CANARY) expect.fail(`byte ${i} beside a tensor was overwritten with ${memory[i]}`);
  }
}

/** The value of a f32 that canary bytes make: what an output element holds that no kernel wrote. */
export const UNWRITTEN: number = new Float32Array(new Uint8Array(4).fill(CANARY).buffer)[0]!;

/** Compares bits; any NaN equals any NaN, because WebAssembly leaves their payload open. */
export function expectSameBits(actual: Float32Array, expected: Float32Array, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  for (let i = 0; i < expected.length; i++)
    if (!Object.is(actual[i], expected[i]))
      expect.fail(`${what}: element ${i} is ${actual[i]}, expected ${expected[i]}`);
}

/** What all engines are compared with is computed for the first one, and kept. */
export function once<Key, Value>(make: (key: Key) => Value): (key: Key) => Value {
  const made = new Map<Key, Value>();
  return (key) => {
    if (!made.has(key)) made.set(key, make(key));
    return made.get(key)!;
  };
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
