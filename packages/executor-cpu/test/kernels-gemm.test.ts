import { bf16, f8e4m3fn, f8e5m2, QuaverError } from '@quaver/numerics';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Fp8Format } from '../src/kernels.ts';
import { Arena, expectSameBits, Random, UNWRITTEN } from './kernels-arena.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.create();
});
beforeEach(() => arena.reset());

const f = Math.fround;
const formats = { f8e4m3fn, f8e5m2 };

interface Dot {
  m: number;
  n: number;
  k: number;
  /** f32 values of the operands. */
  a: Float32Array;
  w: Float32Array;
  segment: number;
  /** The rounded product of the two scales of a segment; absent for unscaled dots. */
  scale?: (row: number, column: number, k0: number) => number;
}

/** The definition: one accumulator per output, k ascending, a fresh one per segment. */
function canonicalDots({ m, n, k, a, w, segment, scale }: Dot): Float32Array {
  const out = new Float32Array(m * n);
  for (let row = 0; row < m; row++)
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let k0 = 0; k0 < k; k0 += segment) {
        let acc = 0;
        for (let i = k0; i < Math.min(k0 + segment, k); i++) acc = f(acc + f(a[row * k + i]! * w[column * k + i]!));
        sum = f(sum + (scale ? f(acc * scale(row, column, k0)) : acc));
      }
      out[row * n + column] = sum;
    }
  return out;
}

interface Fp8Case {
  m: number;
  n: number;
  k: number;
  blockK: number;
  blockN: number;
  aFormat: Fp8Format;
  wFormat: Fp8Format;
  /** One scale for all activations instead of one row of scales each. */
  sharedScale?: boolean;
  /** Binades of the scales, default 2^-20 … 2^4. */
  scaleExponents?: readonly [number, number];
}

function placeFp8(random: Random, c: Fp8Case, codes: (random: Random) => number) {
  const { m, n, k, blockK, blockN } = c;
  const blocksK = Math.ceil(k / blockK);
  const a = Uint8Array.from({ length: m * k }, () => codes(random));
  const w = Uint8Array.from({ length: n * k }, () => codes(random));
  const [low, high] = c.scaleExponents ?? [-20, 4];
  const scales = (count: number) => random.f32s(count, () => (1 + random.unit()) * 2 ** random.integer(low, high));
  const aScales = scales(c.sharedScale ? blocksK : m * blocksK);
  const wScales = scales(Math.ceil(n / blockN) * blocksK);
  const { kernels } = arena;
  const packed = arena.bytes(kernels.packedBytes(c.wFormat, n, k));
  kernels.packWeights(c.wFormat, arena.put(w), packed, k, 0, n);
  const expected = canonicalDots({
    m,
    n,
    k,
    a: Float32Array.from(a, (code) => formats[c.aFormat].decode(code)),
    w: Float32Array.from(w, (code) => formats[c.wFormat].decode(code)),
    segment: Math.min(128, blockK >= k ? 128 : blockK),
    scale: (row, column, k0) => {
      const block = Math.floor(k0 / blockK);
      const aScale = aScales[(c.sharedScale ? 0 : row * blocksK) + block]!;
      return f(aScale * wScales[Math.floor(column / blockN) * blocksK + block]!);
    },
  });
  const args = {
    ...c,
    a: arena.put(a),
    packed,
    aScales: arena.put(aScales),
    wScales: arena.put(wScales),
    ...(c.sharedScale && { aScaleStride: 0 }),
    scratch: arena.bytes(kernels.gemmScratchBytes(m, k)),
  };
  return { args, expected };
}

/** Codes as trained weights have them: nearly normal, hardly a subnormal. */
const realistic = (format: Fp8Format) => (random: Random) => formats[format].encode(random.normal() * 60);
const anyFinite = (format: Fp8Format) => (random: Random) => {
  const code = random.u32() & 0xff;
  return Number.isFinite(formats[format].decode(code)) ? code : 0;
};
const anyCode = (random: Random) => random.u32() & 0xff;

const granularities = [
  { name: '1×128 · 128×128', blockK: 128, blockN: 128 },
  { name: '1×32 · 1×32', blockK: 32, blockN: 1 },
  { name: 'row × row', blockK: 1 << 30, blockN: 1 },
  { name: 'tensor × tensor', blockK: 1 << 30, blockN: 1 << 30, sharedScale: true },
  { name: '1×256 · 24×256', blockK: 256, blockN: 24 },
];

describe('gemmFp8', () => {
  it.each(granularities)('matches the canonical loop bit for bit: $name', (granularity) => {
    const random = new Random(11 + granularity.blockK);
    for (let trial = 0; trial < 12; trial++) {
      arena.reset();
      const wFormat = random.pick(['f8e4m3fn', 'f8e5m2'] as const);
      const aFormat = random.pick(['f8e4m3fn', 'f8e5m2'] as const);
      const shape = { m: random.integer(1, 33), n: random.integer(1, 200), k: random.integer(1, 700) };
      const codes = random.pick([realistic(wFormat), anyFinite(wFormat), anyCode]);
      const { args, expected } = placeFp8(random, { ...shape, ...granularity, aFormat, wFormat }, codes);
      const out = arena.bytes(4 * shape.m * shape.n);
      arena.kernels.gemmFp8({ ...args, out });
      expectSameBits(
        arena.f32(out, shape.m * shape.n),
        expected,
        `${aFormat} × ${wFormat} ${JSON.stringify(shape)} trial ${trial}`,
      );
      arena.expectCanariesIntact();
    }
  });

  it.each([1, 2, 3, 7, 8, 13, 97, 193])('gives each of %i rows the bits that it has alone', (m) => {
    const shape = { m, n: 70, k: 333, blockK: 128, blockN: 128 };
    const { args } = placeFp8(
      new Random(m),
      { ...shape, aFormat: 'f8e4m3fn', wFormat: 'f8e4m3fn' },
      realistic('f8e4m3fn'),
    );
    const { kernels } = arena;
    const together = arena.bytes(4 * m * 70);
    kernels.gemmFp8({ ...args, out: together });
    const alone = arena.bytes(4 * m * 70);
    for (let row = 0; row < m; row++)
      kernels.gemmFp8({
        ...args,
        m: 1,
        a: args.a + row * 333,
        aScales: args.aScales + 4 * 3 * row,
        out: alone + 4 * 70 * row,
      });
    expectSameBits(arena.f32(alone, m * 70), arena.f32(together, m * 70), 'rows alone');
    arena.expectCanariesIntact();
  });

  it.each([
    [-74, -60],
    [50, 63],
  ] as const)('rounds the product of the two scales first, also outside the normal range: 2^%i … 2^%i', (low, high) => {
    const shape = { m: 7, n: 40, k: 300, blockK: 128, blockN: 1, scaleExponents: [low, high] as const };
    for (const m of [1, 7]) {
      const fp8 = { aFormat: 'f8e4m3fn', wFormat: 'f8e4m3fn' } as const;
      const { args, expected } = placeFp8(new Random(m), { ...shape, ...fp8, m }, realistic('f8e4m3fn'));
      const out = arena.bytes(4 * m * 40);
      arena.kernels.gemmFp8({ ...args, out });
      expectSameBits(arena.f32(out, m * 40), expected, `${m} rows`);
    }
  });

  it('is exact for every pair of codes', () => {
    // k = 1: each output is one product, 256 activations × 256 weights.
    const all = Uint8Array.from({ length: 256 }, (_, code) => code);
    const ones = arena.put(new Float32Array(256).fill(1));
    for (const wFormat of ['f8e4m3fn', 'f8e5m2'] as const) {
      const packed = arena.bytes(arena.kernels.packedBytes(wFormat, 256, 1));
      arena.kernels.packWeights(wFormat, arena.put(all), packed, 1, 0, 256);
      for (const aFormat of ['f8e4m3fn', 'f8e5m2'] as const) {
        const out = arena.bytes(4 * 65536);
        const scratch = arena.bytes(arena.kernels.gemmScratchBytes(256, 1));
        const shape = { m: 256, n: 256, k: 1, blockK: 128, blockN: 256 };
        const operands = { a: arena.put(all), packed, aScales: ones, wScales: ones, aFormat, wFormat };
        arena.kernels.gemmFp8({ ...operands, ...shape, out, scratch });
        const expected = new Float32Array(65536);
        // The accumulator starts at +0, so a product −0 becomes +0.
        for (let i = 0; i < 65536; i++)
          expected[i] = formats[aFormat].decode(i >> 8) * formats[wFormat].decode(i & 255) + 0;
        expectSameBits(arena.f32(out, 65536), expected, `${aFormat} × ${wFormat}`);
      }
    }
  });

  it('writes the outputs of its range and nothing else, for any split', () => {
    const shape = { m: 5, n: 150, k: 130, blockK: 128, blockN: 128 };
    const { args, expected } = placeFp8(
      new Random(3),
      { ...shape, aFormat: 'f8e4m3fn', wFormat: 'f8e4m3fn' },
      realistic('f8e4m3fn'),
    );
    const outStride = 160;
    const out = arena.bytes(4 * 5 * outStride);
    for (const [n0, n1] of [
      [0, 1],
      [1, 37],
      [37, 64],
      [64, 64],
      [64, 149],
    ])
      arena.kernels.gemmFp8({ ...args, out, outStride, n0: n0!, n1: n1! });
    const rows = arena.f32(out, 5 * outStride);
    for (let row = 0; row < 5; row++)
      for (let column = 0; column < outStride; column++) {
        const wanted = column < 149 ? expected[row * 150 + column] : UNWRITTEN;
        expect(Object.is(rows[row * outStride + column], wanted), `row ${row} column ${column}`).toBe(true);
      }
    arena.expectCanariesIntact();
  });

  it('refuses a scale block that would split a packed group', () => {
    const shape = { m: 1, n: 32, k: 256, blockN: 1, aFormat: 'f8e4m3fn', wFormat: 'f8e4m3fn' } as const;
    const operands = { a: 0, packed: 0, aScales: 0, wScales: 0, out: 0, scratch: 0 };
    for (const blockK of [0, 6, 48, 192])
      expect(() => arena.kernels.gemmFp8({ ...operands, ...shape, blockK })).toThrowError(QuaverError);
  });
});

const bf16Flushed = (code: number) => {
  const value = bf16.decode(code);
  return Math.abs(value) < 2 ** -56 ? 0 : value;
};

describe('gemmBf16', () => {
  const makers = {
    realistic: (random: Random) => bf16.encode(random.normal()),
    'around the flush limit': (random: Random) => ((71 + random.integer(-2, 1)) << 7) | (random.u32() & 0x807f),
    'any code': (random: Random) => random.u32() & 0xffff,
  };
  it.each(Object.entries(makers))('matches the canonical loop bit for bit: %s', (name, code) => {
    const random = new Random(5);
    for (let trial = 0; trial < 10; trial++) {
      arena.reset();
      const { kernels } = arena;
      const [m, n, k] = [random.integer(1, 33), random.integer(1, 200), random.integer(1, 700)];
      const a = Uint16Array.from({ length: m * k }, () => code(random));
      const w = Uint16Array.from({ length: n * k }, () => code(random));
      const packed = arena.bytes(kernels.packedBytes('bf16', n, k));
      kernels.packWeights('bf16', arena.put(w), packed, k, 0, n);
      const out = arena.bytes(4 * m * n);
      const scratch = arena.bytes(kernels.gemmScratchBytes(m, k));
      const split = random.integer(0, n);
      for (const [n0, n1] of [
        [0, split],
        [split, n],
      ])
        kernels.gemmBf16({ a: arena.put(a), packed, out, scratch, m, n, k, n0: n0!, n1: n1! });
      const values = { a: Float32Array.from(a, bf16Flushed), w: Float32Array.from(w, bf16Flushed) };
      expectSameBits(
        arena.f32(out, m * n),
        canonicalDots({ m, n, k, segment: 128, ...values }),
        `${name} ${m}×${n}×${k}`,
      );
      arena.expectCanariesIntact();
    }
  });
});

describe('gemmF32', () => {
  const makers = {
    realistic: (random: Random) => random.normal(),
    'wide range, subnormal products': (random: Random) => random.normal() * 2 ** random.integer(-100, 60),
    subnormal: (random: Random) => random.normal() * 2 ** -130,
  };
  it.each(Object.entries(makers))('matches the canonical loop bit for bit: %s', (name, value) => {
    const random = new Random(6);
    for (let trial = 0; trial < 10; trial++) {
      arena.reset();
      const { kernels } = arena;
      const [m, n, k] = [random.integer(1, 33), random.integer(1, 200), random.integer(1, 700)];
      const a = random.f32s(m * k, () => value(random));
      const w = random.f32s(n * k, () => value(random));
      const packed = arena.bytes(kernels.packedBytes('f32', n, k));
      // Two slices, as a loader brings in a matrix that is too large to hold twice.
      const first = Math.min(n, 64);
      kernels.packWeights('f32', arena.put(w.subarray(0, first * k)), packed, k, 0, first);
      if (first < n) kernels.packWeights('f32', arena.put(w.subarray(first * k)), packed, k, first, n - first);
      const out = arena.bytes(4 * m * n);
      kernels.gemmF32({ a: arena.put(a), packed, out, scratch: arena.bytes(kernels.gemmScratchBytes(m, k)), m, n, k });
      expectSameBits(arena.f32(out, m * n), canonicalDots({ m, n, k, a, w, segment: 128 }), `${name} ${m}×${n}×${k}`);
      arena.expectCanariesIntact();
    }
  });
});
