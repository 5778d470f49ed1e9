/** @file What an engine does with images that are wrong: it refuses them, and never touches a byte that is not theirs. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Engine, EngineMemory } from '../src/engine/engine.ts';
import { addon, type EngineKind, engineKinds, isas } from './engines.ts';
import { imageOf, type RawCall, type Sample, samplesOf } from './images.ts';

/** All instruction sets read images with the same code: two threads settings and WebAssembly stand for all. */
const kinds: readonly EngineKind[] = engineKinds.filter(
  ({ name }) => name.startsWith('wasm') || name.startsWith(`${isas[0]},`) || name.startsWith('portable'),
);

const refusal = expect.objectContaining({ code: 'kernel-argument' });
const CANARY = 0x5a;
/** Bytes before each tensor, in its own memory, and memories between those of tensors. */
const MARGIN = 256;
const untouched = Buffer.alloc(MARGIN, CANARY);

test('there is a sample of every op', () => {
  const engine = { packedBytes: () => 0, stagedBytes: () => 0 } as unknown as Engine;
  expect([...new Set(samplesOf(engine).map(({ op }) => op))].sort()).toEqual([...addon.ops()].sort());
});

describe.each(kinds)('$name', (kind) => {
  let engine: Engine;
  let samples: readonly Sample[];
  beforeAll(async () => {
    engine = await kind.open();
    samples = samplesOf(engine);
  });
  afterAll(() => engine.close());

  const codeOf = (name: string) => engine.opCode(name);
  const callOf = ({ op, bytes, numbers }: Sample, first = 0, offset = 0): RawCall => ({
    op,
    pointers: bytes.map((size, i) => (size === undefined ? undefined : [first + i, offset])),
    numbers,
  });

  async function runImage(image: Float64Array, memories: readonly EngineMemory[]): Promise<void> {
    const loaded = engine.load(image, memories, false);
    try {
      // Work on rows without elements can be long; nothing of it may be needed.
      await loaded.run(AbortSignal.timeout(200)).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'aborted' });
      });
    } finally {
      loaded.release();
    }
  }

  test('an instruction gets by with the bytes that it needs, and not with one fewer', async () => {
    for (const sample of samples) {
      const image = imageOf(codeOf, [callOf(sample)]);
      const memories = sample.bytes.map((size) => engine.allocate(size ?? 64));
      await runImage(image, memories);
      for (const [i, size] of sample.bytes.entries()) {
        if (size === undefined) continue;
        const short = engine.allocate(size - 1);
        const tooSmall = memories.map((memory, j) => (i === j ? short : memory));
        expect(() => engine.load(image, tooSmall, false), `${sample.op}: pointer ${i}`).toThrow(refusal);
        short.release();
      }
      for (const memory of memories) memory.release();
    }
  });

  test('images that are cut off, have numbers left over, or name what does not exist are refused', () => {
    for (const sample of samples) {
      const memories = sample.bytes.map((size) => engine.allocate(size ?? 64));
      const image = [...imageOf(codeOf, [callOf(sample)])];
      const refuse = (numbers: readonly number[], what: string) =>
        expect(() => engine.load(Float64Array.from(numbers), memories, false), `${sample.op}: ${what}`).toThrow(
          refusal,
        );
      for (let length = 0; length < image.length; length++) refuse(image.slice(0, length), `${length} numbers`);
      refuse([...image, 0], 'one number more');
      for (const count of [0, 2, -1, 0.5, 1.5, Number.NaN, 2 ** 32, 2 ** 32 + 1, 2 ** 53]) {
        refuse([count, ...image.slice(1)], `${count} instructions`);
      }
      for (const op of [-1, addon.ops().length, 0.5, 2 ** 32, Number.NaN, Number.POSITIVE_INFINITY]) {
        refuse([1, op, ...image.slice(2)], `op ${op}`);
      }
      for (const [i, size] of sample.bytes.entries()) {
        if (size === undefined) continue;
        const at = 2 + 2 * i;
        for (const block of [-2, memories.length, 0.5, 2 ** 32, Number.NaN, Number.NEGATIVE_INFINITY]) {
          refuse(image.with(at, block), `block ${block}`);
        }
        for (const offset of [-64, 1, 32, 0.5, 64 * Math.ceil(size / 64) + 64, 2 ** 32, 2 ** 53, 2 ** 64, Number.NaN]) {
          refuse(image.with(at + 1, offset), `offset ${offset}`);
        }
      }
      for (const memory of memories) memory.release();
    }
    expect(() => engine.load(new Float64Array(0), [], false)).toThrow(refusal);
  });

  test('sides whose padding does not fit 32 bits are refused, however little memory they seem to need', () => {
    const memory = engine.allocate(4096);
    const wrapping = [2 ** 32 - 1, 2 ** 32 - 2, 2 ** 32 - 64, 2 ** 31, 2 ** 28 + 1];
    const calls = (k: number): RawCall[] => [
      {
        op: 'pack',
        pointers: [
          [0, 0],
          [0, 64],
        ],
        numbers: [2, 1, k, 0, 0],
      },
      {
        op: 'unpack',
        pointers: [
          [0, 0],
          [0, 64],
        ],
        numbers: [2, 0, k],
      },
      {
        op: 'stage',
        pointers: [
          [0, 0],
          [0, 64],
        ],
        numbers: [2, 1, k, 0, 0, 2],
      },
      {
        op: 'gather_packed',
        pointers: [
          [0, 0],
          [0, 64],
          [0, 128],
        ],
        numbers: [1, 0, 1, k, 2],
      },
      {
        op: 'gemm',
        pointers: [[0, 0], [0, 64], [0, 128], undefined, undefined],
        numbers: [0, 2, 2, 1, 1, k, 1, 0, 0, 0, 0, 1, k],
      },
    ];
    for (const k of wrapping) {
      for (const call of calls(k)) {
        expect(() => engine.load(imageOf(codeOf, [call]), [memory], false), `${call.op} ${k}`).toThrow(refusal);
      }
    }
  });

  test('an absent pointer is refused where it is needed', () => {
    for (const sample of samples) {
      const memories = sample.bytes.map((size) => engine.allocate(size ?? 64));
      for (const [i, size] of sample.bytes.entries()) {
        const optional = i > ({ gemm: 2, attention: 6, attention_grad: 9 }[sample.op] ?? sample.bytes.length);
        if (size === undefined || optional) continue;
        const call = callOf(sample);
        const image = imageOf(codeOf, [{ ...call, pointers: call.pointers.with(i, undefined) }]);
        expect(() => engine.load(image, memories, false), `${sample.op}: pointer ${i}`).toThrow(refusal);
      }
      for (const memory of memories) memory.release();
    }
  });

  /** Memories for samples, each tensor at the end of its own, with canary bytes before it and between all of them. */
  function guarded(list: readonly Sample[]) {
    const guards: EngineMemory[] = [];
    const memories: EngineMemory[] = [];
    const offsets: number[] = [];
    const guard = () => guards.push(engine.allocate(MARGIN));
    for (const { bytes } of list) {
      for (const size of bytes) {
        guard();
        memories.push(engine.allocate(MARGIN + (size ?? 64)));
        offsets.push(MARGIN);
      }
    }
    guard();
    for (const memory of guards) memory.bytes().fill(CANARY);
    for (const memory of memories) memory.bytes().fill(CANARY, 0, MARGIN);
    return {
      memories,
      expectIntact: () => {
        for (const memory of guards) expect(untouched.equals(memory.bytes())).toBe(true);
      },
      expectMarginsIntact: () => {
        for (const memory of memories) expect(untouched.equals(memory.bytes().subarray(0, MARGIN))).toBe(true);
      },
      release: () => {
        for (const memory of [...guards, ...memories]) memory.release();
      },
    };
  }

  const hostile = [
    ...[-1, -0, 0.5, 1e-300, 1.5, 2.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -(2 ** 31)],
    ...[
      2 ** 16,
      2 ** 24,
      2 ** 31 - 1,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 32,
      2 ** 33,
      2 ** 40,
      2 ** 52,
      2 ** 53,
      2 ** 64,
      1e300,
    ],
  ];

  test('any number of an instruction may be anything: it is refused, or stays within its memory', async () => {
    for (const sample of samples) {
      const guard = guarded([sample]);
      const image = imageOf(codeOf, [callOf(sample, 0, MARGIN)]);
      const first = image.length - sample.numbers.length;
      let refused = 0;
      for (let i = first; i < image.length; i++) {
        const own = image[i]!;
        for (const number of [...hostile, own + 1, own - 1, own + 128, 2 * own, 1000 * own, 0]) {
          try {
            await runImage(image.with(i, number), guard.memories);
          } catch (error) {
            expect(error, `${sample.op}: number ${i - first} is ${number}`).toMatchObject({ code: 'kernel-argument' });
            refused++;
          }
        }
      }
      expect(refused, sample.op).toBeGreaterThan(0);
      guard.expectIntact();
      guard.expectMarginsIntact();
      guard.release();
    }
  });

  test('a valid program with any numbers changed is refused, or stays within its memory', async () => {
    const guard = guarded(samples);
    let first = 0;
    const calls = samples.map((sample) => {
      const call = callOf(sample, first, MARGIN);
      first += sample.bytes.length;
      return call;
    });
    const valid = imageOf(codeOf, calls);
    await runImage(valid, guard.memories);
    guard.expectIntact();
    guard.expectMarginsIntact();
    const number = fc.oneof(
      fc.constantFrom(...hostile),
      fc.nat({ max: 300 }),
      fc.nat({ max: 20 }).map((lines) => 64 * lines),
      fc.maxSafeNat(),
      fc.double(),
    );
    const change = fc.record({ at: fc.nat({ max: valid.length - 1 }), number });
    const edit = fc.record({
      changes: fc.array(change, { minLength: 1, maxLength: 4 }),
      keep: fc.oneof({ weight: 9, arbitrary: fc.constant(valid.length) }, fc.nat({ max: valid.length })),
    });
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(edit, async ({ changes, keep }) => {
        const image = valid.slice(0, keep);
        for (const { at, number: value } of changes) if (at < keep) image[at] = value;
        try {
          await runImage(image, guard.memories);
          accepted++;
        } catch (error) {
          expect(error).toMatchObject({ code: 'kernel-argument' });
        }
        guard.expectIntact();
      }),
      { numRuns: 1200, seed: 20 },
    );
    expect(accepted).toBeGreaterThan(20);
    guard.release();
  });
});
