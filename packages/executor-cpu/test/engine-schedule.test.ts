/** @file Instructions that share a phase, and those that must not: results are those of one after the other. */
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import type { Engine } from '../src/engine/engine.ts';
import { WasmEngine } from '../src/engine/wasm-engine.ts';
import { addon, isas, openNative } from './engines.ts';
import { imageOf, type RawCall } from './images.ts';
import { Random } from './kernels-arena.ts';

const KiB = 1024;

describe('phases', () => {
  const engine = addon.open(isas[0]!, 4);
  afterAll(() => addon.close(engine));
  const block = addon.allocate(engine, 2 ** 22, false)!;
  const codes = addon.ops();

  /** Phases of calls over one block, and those of them that threads share. */
  const phasesOf = (...calls: readonly RawCall[]) => {
    const program = addon.load(
      engine,
      imageOf((name) => codes.indexOf(name), calls),
      [block],
      false,
    );
    const [instructions, phases, shared] = addon.phases(program);
    addon.unload(program);
    expect(instructions).toBe(calls.length);
    return { phases, shared };
  };
  const call = (op: string, numbers: readonly number[], ...kibibytes: readonly (number | undefined)[]): RawCall => ({
    op,
    pointers: kibibytes.map((at) => (at === undefined ? undefined : [0, at * KiB])),
    numbers,
  });
  const unary = (from: number, to: number, rows: number, n: number) => call('unary', [0, rows, n], from, to);
  const copy = (from: number, to: number, rows: number, bytes: number) => call('copy', [rows, bytes], from, to);
  /** 32 KiB staged, 129 KiB packed, 64 KiB of output. */
  const gemm = (staged: number, packed: number, out: number) =>
    call('gemm', [0, 0, 0, 64, 256, 128, 256, 0, 0, 0, 0, 1, 128], staged, packed, out, undefined, undefined);

  test('independent products share one', () => {
    expect(phasesOf(gemm(0, 32, 200), gemm(0, 300, 500), gemm(0, 600, 800))).toEqual({ phases: 1, shared: 1 });
  });

  test('a product waits for what it reads, and for those who read what it overwrites', () => {
    const apart = { phases: 2, shared: 2 };
    expect(phasesOf(gemm(0, 32, 200), gemm(200, 300, 500))).toEqual(apart);
    expect(phasesOf(gemm(0, 32, 200), gemm(300, 400, 0))).toEqual(apart);
    expect(phasesOf(gemm(0, 32, 200), gemm(300, 400, 20))).toEqual(apart);
    expect(phasesOf(gemm(0, 32, 200), gemm(300, 400, 200))).toEqual(apart);
  });

  test('a chain on the same rows is one, also when it comes back to where it began', () => {
    const together = { phases: 1, shared: 1 };
    const wide = (from: number, to: number) => unary(from, to, 32, 512);
    expect(phasesOf(wide(0, 64), wide(64, 128), wide(128, 0))).toEqual(together);
    const norm = call('rms_norm', [0, 32, 512, 1e-5], 64, 900, 128);
    const quantize = call('quantize_rows', [2, 32, 512, 128, 1], 128, 192, 256);
    expect(phasesOf(wide(0, 64), norm, quantize)).toEqual(together);
    const stage = call('stage', [2, 32, 512, 512, 1, 2], 192, 300);
    expect(phasesOf(wide(0, 64), norm, quantize, stage)).toEqual(together);
  });

  test('the same memory in rows of another width, or shifted, is not', () => {
    expect(phasesOf(unary(0, 64, 16, 256), unary(64, 128, 32, 128)).phases).toBe(2);
    expect(phasesOf(unary(0, 256, 16, 2048), unary(256, 512, 32, 1024))).toEqual({ phases: 2, shared: 2 });
    expect(phasesOf(unary(0, 64, 16, 256), unary(65, 128, 16, 256)).phases).toBe(2);
    // As many rows, which are narrower: of those that a thread has, it did not make all.
    expect(phasesOf(unary(0, 64, 16, 256), unary(64, 128, 16, 128)).phases).toBe(2);
    // Reuse of a slot: what the third writes, in other rows, the first reads.
    expect(phasesOf(unary(0, 64, 16, 256), unary(64, 128, 16, 256), copy(256, 0, 8, 2 * KiB)).phases).toBe(2);
  });

  test('two lanes that meet later wait for each other', () => {
    const add = call('binary', [0, 16, 256], 64, 192, 256);
    expect(phasesOf(unary(0, 64, 16, 256), unary(128, 192, 16, 256), add).phases).toBe(2);
  });

  test('with one unit each, one thread runs both, whatever they touch', () => {
    expect(phasesOf(unary(0, 64, 1, 4096), unary(65, 128, 1, 100)).phases).toBe(1);
    expect(phasesOf(unary(0, 64, 1, 4096), unary(65, 128, 2, 50)).phases).toBe(2);
  });

  test('work without units has none', () => {
    expect(phasesOf(unary(0, 64, 0, 256), copy(0, 64, 0, 1))).toEqual({ phases: 0, shared: 0 });
    expect(phasesOf(unary(0, 64, 0, 256), unary(64, 128, 1, 256))).toEqual({ phases: 1, shared: 0 });
  });
});

/** Slots of f32 that calls use and use again with rows of many widths, then slots of bytes. */
const slots = 5;
const byteSlots = 3;
const slotBytes = 64 * KiB;
const constants = slots + byteSlots;

type Step = (random: Random) => RawCall;

/** A call on random slots. What it writes is within one slot, now and then not at its beginning. */
const randomCall: Step = (random) => {
  const n = random.pick([1, 3, 16, 64, 100, 128, 512, 1024]);
  const most = Math.floor(slotBytes / 2 / 4 / n);
  const rows = random.pick([1, 2, 7, 16, most, most, most].filter((count) => count <= most));
  const shift = () => (random.unit() < 0.2 ? 64 * random.integer(1, 100) : 0);
  const slot = (): readonly [number, number] => [0, random.integer(0, slots - 1) * slotBytes + shift()];
  const byteSlot = (): readonly [number, number] => [0, (slots + random.integer(0, byteSlots - 1)) * slotBytes];
  const constant = (at: number): readonly [number, number] => [0, constants * slotBytes + at * KiB];
  const x = slot();
  // In place, or apart: parts of one tensor on top of another are nobody's meaning.
  const apart = (): readonly [number, number] => {
    let other = slot();
    while (Math.floor(other[1] / slotBytes) === Math.floor(x[1] / slotBytes)) other = slot();
    return other;
  };
  const out = random.unit() < 0.3 ? x : apart();
  const other = random.unit() < 0.3 ? x : apart();
  const beside = Math.floor(other[1] / slotBytes) === Math.floor(out[1] / slotBytes) ? x : other;
  const block = random.pick([32, 128]);
  const by = [rows, n, Math.ceil(n / block), 1, block];
  const all: RawCall[] = [
    { op: 'unary', pointers: [x, out], numbers: [random.pick([0, 1, 5]), rows, n] },
    { op: 'binary', pointers: [x, beside, out], numbers: [random.pick([0, 1, 4, 5]), rows, n] },
    { op: 'add_row', pointers: [x, constant(0), out], numbers: [rows, n] },
    { op: 'rms_norm', pointers: [x, constant(8), out], numbers: [0, rows, n, 1e-5] },
    { op: 'softmax', pointers: [x, out], numbers: [0, rows, n] },
    { op: 'copy', pointers: [x, apart()], numbers: [rows, 4 * n] },
    { op: 'reduce', pointers: [x, apart()], numbers: [random.integer(0, 2), 1, rows, n] },
    { op: 'reduce', pointers: [x, apart()], numbers: [random.integer(0, 2), rows, n, 1] },
    { op: 'compare', pointers: [x, beside, byteSlot()], numbers: [random.integer(0, 5), 0, rows, n] },
    { op: 'select', pointers: [byteSlot(), x, beside, out], numbers: [4, rows, n] },
    { op: 'iota', pointers: [out], numbers: [0, 1, rows, n] },
    { op: 'fill', pointers: [x], numbers: [rows, n, 4, 0x3f000000] },
    { op: 'gather', pointers: [x, constant(16), apart()], numbers: [1, Math.min(rows, 16), rows, 4 * n] },
    { op: 'quantize_rows', pointers: [x, byteSlot(), constant(32)], numbers: [2, rows, n, block, 1] },
    { op: 'dequantize_by', pointers: [byteSlot(), constant(32), out], numbers: [2, ...by] },
    { op: 'encode', pointers: [x, byteSlot()], numbers: [1, rows, n, 1] },
    { op: 'decode', pointers: [byteSlot(), out], numbers: [1, rows, n] },
    {
      op: 'strided_copy',
      pointers: [x, apart()],
      numbers: [4, ...[n, rows, 1, 1, 1, 1], ...[1, n, 0, 0, 0, 0], ...[rows, 1, 0, 0, 0, 0], 0, 0],
    },
    { op: 'update_slice', pointers: [x, apart(), constant(17), x], numbers: [1, rows, Math.min(2, rows), 4 * n] },
  ];
  return random.pick(all);
};

test('random chains over slots that are used again: the bits of one instruction after the other, on any engine', async () => {
  const engines: readonly Engine[] = [openNative(1), openNative(4), openNative(4, 'portable'), await WasmEngine.open()];
  const bytes = constants * slotBytes + 256 * KiB;
  const memories = engines.map((engine) => engine.allocate(bytes));
  const start = new Random(1);
  const initial = start.f32s(bytes / 4, () => start.normal());
  const words = new Int32Array(initial.buffer);
  // Indices of rows, all of which there are; positions.
  words.fill(0, (constants * slotBytes + 16 * KiB) / 4, (constants * slotBytes + 18 * KiB) / 4);

  /** Any NaN is any other: which of two a sum keeps is left open. */
  const resultOf = (i: number) => {
    const found = new Float32Array(memories[i]!.bytes().slice().buffer);
    return Buffer.from(found.map((x) => (Number.isNaN(x) ? Number.NaN : x)).buffer);
  };
  const run = async (i: number, calls: readonly RawCall[]) => {
    const engine = engines[i]!;
    const loaded = engine.load(
      imageOf((name) => engine.opCode(name), calls),
      [memories[i]!],
      false,
    );
    expect(await loaded.run(undefined)).toBeUndefined();
    loaded.release();
  };

  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 24 }), async (seed, length) => {
      const random = new Random(seed);
      const calls = Array.from({ length }, () => randomCall(random));
      const reset = () => {
        for (const memory of memories) memory.bytes().set(new Uint8Array(initial.buffer));
      };
      reset();
      for (const call of calls) await run(0, [call]);
      const expected = resultOf(0);
      reset();
      for (const i of engines.keys()) {
        await run(i, calls);
        expect(resultOf(i).equals(expected), `${engines[i]!.isa}, ${engines[i]!.threads} threads`).toBe(true);
      }
    }),
    { numRuns: 100, seed: 7 },
  );
  for (const engine of engines) await engine.close();
});
