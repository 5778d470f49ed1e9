import { bf16, f8e4m3fn, f8e5m2, QuaverError } from '@quaver/numerics';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Fp8Format, KernelFormat } from '../src/engine/engine.ts';
import { engineKinds } from './engines.ts';
import { Arena, expectSameBits, once, Random, type Tensor, UNWRITTEN } from './kernels-arena.ts';
import { canonicalDots, flushed } from './kernels-reference.ts';

const f = Math.fround;
const formats = { f8e4m3fn, f8e5m2 };

const decodeAs = (format: KernelFormat): ((code: number) => number) => {
  if (format === 'f32') return (value) => value;
  if (format === 'bf16') return (code) => flushed(bf16.decode(code));
  return formats[format].decode;
};
const arrayOf = (format: KernelFormat, length: number, next: () => number): Tensor => {
  if (format === 'f32') return Float32Array.from({ length }, next);
  return format === 'bf16' ? Uint16Array.from({ length }, next) : Uint8Array.from({ length }, next);
};

interface Product {
  m: number;
  n: number;
  k: number;
  aFormat: KernelFormat;
  wFormat: KernelFormat;
}

interface Scales {
  blockK: number;
  blockN: number;
  /** One scale for all activations instead of one row of scales each. */
  sharedScale?: boolean;
  /** Scales of a block lie together, instead of those of a row. */
  byBlock?: boolean;
  /** Binades of the scales, default 2^-20 … 2^4. */
  scaleExponents?: readonly [number, number];
  /** The other side has none. */
  only?: 'a' | 'w';
}

type Maker = (random: Random) => number;
interface Case {
  readonly product: Product;
  readonly scales?: Scales;
  readonly a: Tensor;
  readonly w: Tensor;
  readonly aScales?: Float32Array;
  readonly wScales?: Float32Array;
  readonly strides: readonly [a: number, aBlock: number, w: number, wBlock: number];
  readonly expected: Float32Array;
}

/** Operands, and what the definition makes of them. */
function makeCase(random: Random, product: Product, aCode: Maker, wCode: Maker, scales?: Scales): Case {
  const { m, n, k, aFormat, wFormat } = product;
  const a = arrayOf(aFormat, m * k, () => aCode(random));
  const w = arrayOf(wFormat, n * k, () => wCode(random));
  const values = { m, n, k, a: Float32Array.from(a, decodeAs(aFormat)), w: Float32Array.from(w, decodeAs(wFormat)) };
  if (!scales) return { product, a, w, strides: [0, 0, 0, 0], expected: canonicalDots({ ...values, segment: 128 }) };
  const { blockK, blockN, sharedScale, byBlock, only, scaleExponents: [low, high] = [-20, 4] } = scales;
  const blocksK = Math.ceil(k / blockK);
  const [aRows, wRows] = [sharedScale ? 1 : m, Math.ceil(n / blockN)];
  const make = (count: number) => random.f32s(count, () => (1 + random.unit()) * 2 ** random.integer(low, high));
  const [aScales, wScales] = [make(aRows * blocksK), make(wRows * blocksK)];
  const strides = byBlock ? ([1, aRows, 1, wRows] as const) : ([blocksK, 1, blocksK, 1] as const);
  const aRow = sharedScale ? 0 : strides[0];
  const expected = canonicalDots({
    ...values,
    segment: Math.min(128, blockK >= k ? 128 : blockK),
    scale: (row, column, k0) => {
      const block = Math.floor(k0 / blockK);
      const aScale = only === 'w' ? 1 : aScales[row * aRow + block * strides[1]]!;
      const wScale = only === 'a' ? 1 : wScales[Math.floor(column / blockN) * strides[2] + block * strides[3]]!;
      return f(aScale * wScale);
    },
  });
  return {
    product,
    scales,
    a,
    w,
    ...(only !== 'w' && { aScales }),
    ...(only !== 'a' && { wScales }),
    strides: [aRow, strides[1], strides[2], strides[3]],
    expected,
  };
}

/** Arguments of a product in an engine's memory; the output is canary bytes. */
async function placeCase(arena: Arena, { product, scales, a, w, aScales, wScales, strides }: Case) {
  const { m, n, k, wFormat } = product;
  return {
    ...product,
    a: arena.put(a),
    packed: await arena.kernels.packWeights(wFormat, arena.put(w), n, k),
    ...(scales && { blockK: scales.blockK, blockN: scales.blockN }),
    ...(aScales && { aScales: arena.put(aScales), aScaleStride: strides[0], aBlockStride: strides[1] }),
    ...(wScales && { wScales: arena.put(wScales), wScaleStride: strides[2], wBlockStride: strides[3] }),
    out: arena.bytes(4 * m * n),
  };
}

async function expectCase(arena: Arena, c: Case, what: string): Promise<void> {
  arena.reset();
  const args = await placeCase(arena, c);
  await arena.kernels.gemm(args);
  const { m, n, k, aFormat, wFormat } = c.product;
  expectSameBits(arena.f32(args.out, m * n), c.expected, `${what} ${aFormat} × ${wFormat} ${m}×${n}×${k}`);
  arena.expectCanariesIntact();
}

/** Codes as trained weights have them: nearly normal, hardly a subnormal. */
const realistic =
  (format: Fp8Format): Maker =>
  (random) =>
    formats[format].encode(random.normal() * 60);
const anyFinite =
  (format: Fp8Format): Maker =>
  (random) => {
    const code = random.u32() & 0xff;
    return Number.isFinite(formats[format].decode(code)) ? code : 0;
  };
const anyCode: Maker = (random) => random.u32() & 0xff;
const bf16Codes = {
  realistic: (random: Random) => bf16.encode(random.normal()),
  'around the flush limit': (random: Random) => ((71 + random.integer(-2, 1)) << 7) | (random.u32() & 0x807f),
  'any code whose products do not overflow': (random: Random) => {
    const code = random.u32() & 0xffff;
    const magnitude = Math.abs(bf16.decode(code));
    return Number.isFinite(magnitude) && magnitude >= 2 ** 63 ? code & 0xbfff : code;
  },
};
const f32Values = {
  realistic: (random: Random) => random.normal(),
  'wide range, subnormal products': (random: Random) => random.normal() * 2 ** random.integer(-100, 60),
  subnormal: (random: Random) => random.normal() * 2 ** -130,
};

const shapeOf = (random: Random) => ({
  m: random.integer(1, 33),
  n: random.integer(1, 200),
  k: random.integer(1, 700),
});
const pickFp8 = (random: Random) => random.pick(['f8e4m3fn', 'f8e5m2'] as const);

const granularities: Readonly<Record<string, Scales>> = {
  '1×128 · 128×128': { blockK: 128, blockN: 128 },
  '1×128 · 128×128, scales by block': { blockK: 128, blockN: 128, byBlock: true },
  '1×32 · 1×32': { blockK: 32, blockN: 1 },
  '1×4 · 3×4': { blockK: 4, blockN: 3 },
  'row × row': { blockK: 1 << 30, blockN: 1 },
  'tensor × tensor': { blockK: 1 << 30, blockN: 1 << 30, sharedScale: true },
  '1×256 · 24×256': { blockK: 256, blockN: 24 },
  'weights only, 128×128': { blockK: 128, blockN: 128, only: 'w' },
  'activations only, 1×128': { blockK: 128, blockN: 1, only: 'a' },
};

const fp8Cases = once((name: string) => {
  const granularity = granularities[name]!;
  const random = new Random(11 + granularity.blockK);
  return Array.from({ length: 12 }, () => {
    const [wFormat, aFormat] = [pickFp8(random), pickFp8(random)];
    const product = { ...shapeOf(random), aFormat, wFormat };
    const codes = random.pick([realistic(wFormat), anyFinite(wFormat), anyCode]);
    return makeCase(random, product, codes, codes, granularity);
  });
});

const fp8 = { aFormat: 'f8e4m3fn', wFormat: 'f8e4m3fn' } as const;
const realisticFp8 = realistic('f8e4m3fn');
const rowsCase = once((m: number) => {
  const shape = { m, n: 70, k: 333, ...fp8 };
  return makeCase(new Random(m), shape, realisticFp8, realisticFp8, { blockK: 128, blockN: 128 });
});
const roundingCases = once(([low, high]: readonly [number, number]) =>
  [1, 7].map((m) => {
    const scales = { blockK: 128, blockN: 1, scaleExponents: [low, high] as const };
    return makeCase(new Random(m), { m, n: 40, k: 300, ...fp8 }, realisticFp8, realisticFp8, scales);
  }),
);
const splitCase = once((_: 'one') =>
  makeCase(new Random(3), { m: 5, n: 150, k: 130, ...fp8 }, realisticFp8, realisticFp8, { blockK: 128, blockN: 16 }),
);
const bf16Cases = once((name: keyof typeof bf16Codes) => {
  const random = new Random(5);
  const product = () => ({ ...shapeOf(random), aFormat: 'bf16', wFormat: 'bf16' }) as const;
  return Array.from({ length: 10 }, () => makeCase(random, product(), bf16Codes[name], bf16Codes[name]));
});
const f32Cases = once((name: keyof typeof f32Values) => {
  const random = new Random(6);
  const product = () => ({ ...shapeOf(random), aFormat: 'f32', wFormat: 'f32' }) as const;
  return Array.from({ length: 10 }, () => makeCase(random, product(), f32Values[name], f32Values[name]));
});
/** BF16 activations on FP8 weights and the other way round, with and without scales. */
const mixedCases = once((key: `${'bf16' | Fp8Format} × ${'bf16' | Fp8Format}`) => {
  const [aFormat, wFormat] = key.split(' × ') as ['bf16' | Fp8Format, 'bf16' | Fp8Format];
  const random = new Random(7);
  const maker = (format: 'bf16' | Fp8Format): Maker =>
    format === 'bf16'
      ? random.pick(Object.values(bf16Codes))
      : random.pick([realistic(format), anyFinite(format), anyCode]);
  return Array.from({ length: 6 }, () => {
    const scales = random.pick([undefined, ...Object.values(granularities)]);
    return makeCase(random, { ...shapeOf(random), aFormat, wFormat }, maker(aFormat), maker(wFormat), scales);
  });
});
/** As many rows as go through a panel together, and more: at most 516, fewer where k is long. */
const tallCases = once((_: 'all') => {
  const random = new Random(8);
  const f32 = { aFormat: 'f32', wFormat: 'f32' } as const;
  return [
    makeCase(random, { m: 516, n: 33, k: 140, ...f32 }, f32Values.realistic, f32Values.realistic),
    makeCase(random, { m: 517, n: 65, k: 131, ...f32 }, f32Values.realistic, f32Values.realistic),
    makeCase(random, { m: 1033, n: 20, k: 129, ...fp8 }, realisticFp8, realisticFp8, { blockK: 32, blockN: 1 }),
    // Blocks of 96 rows, the last one of a single row.
    makeCase(random, { m: 97, n: 3, k: 4100, ...f32 }, f32Values.realistic, f32Values.realistic),
    makeCase(random, { m: 385, n: 5, k: 4100, ...fp8 }, realisticFp8, realisticFp8, { blockK: 128, blockN: 1 }),
    makeCase(
      random,
      { m: 700, n: 130, k: 5, aFormat: 'bf16', wFormat: 'bf16' },
      bf16Codes.realistic,
      bf16Codes.realistic,
    ),
  ];
});

describe.each(engineKinds)('$name', (kind) => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open(kind);
  });
  afterAll(() => arena.close());
  beforeEach(() => arena.reset());

  describe('gemmFp8', () => {
    it.each(Object.keys(granularities))('matches the canonical loop bit for bit: %s', async (name) => {
      for (const [trial, c] of fp8Cases(name).entries()) await expectCase(arena, c, `trial ${trial}`);
    });

    it.each([1, 2, 3, 7, 8, 13, 97, 193])('gives each of %i rows the bits that it has alone', async (m) => {
      const c = rowsCase(m);
      const args = await placeCase(arena, c);
      await arena.kernels.gemmFp8(args);
      expectSameBits(arena.f32(args.out, m * 70), c.expected, 'rows together');
      for (let row = 0; row < m; row++) {
        const a = arena.put(c.a.subarray(row * 333, (row + 1) * 333));
        const aScales = arena.put(c.aScales!.subarray(3 * row, 3 * (row + 1)));
        const out = arena.bytes(4 * 70);
        await arena.kernels.gemmFp8({ ...args, m: 1, a, aScales, out });
        expectSameBits(arena.f32(out, 70), c.expected.subarray(row * 70, (row + 1) * 70), `row ${row} alone`);
      }
      arena.expectCanariesIntact();
    });

    const binades = [
      [-74, -60],
      [50, 63],
    ] as const;
    it.each([0, 1] as const)(
      'rounds the product of the two scales first, also outside the normal range (%i)',
      async (i) => {
        for (const c of roundingCases(binades[i])) await expectCase(arena, c, `2^${binades[i]}`);
      },
    );

    it('is exact for every pair of codes', async () => {
      // k = 1: each output is one product, 256 activations × 256 weights.
      const all = arena.put(Uint8Array.from({ length: 256 }, (_, code) => code));
      const ones = arena.put(new Float32Array(256).fill(1));
      for (const wFormat of ['f8e4m3fn', 'f8e5m2'] as const) {
        const packed = await arena.kernels.packWeights(wFormat, all, 256, 1);
        for (const aFormat of ['f8e4m3fn', 'f8e5m2'] as const) {
          const out = arena.bytes(4 * 65536);
          const shape = { m: 256, n: 256, k: 1, blockK: 128, blockN: 256 };
          await arena.kernels.gemmFp8({
            a: all,
            packed,
            aScales: ones,
            wScales: ones,
            aFormat,
            wFormat,
            ...shape,
            out,
          });
          const expected = new Float32Array(65536);
          // The accumulator starts at +0, so a product −0 becomes +0.
          for (let i = 0; i < 65536; i++)
            expected[i] = formats[aFormat].decode(i >> 8) * formats[wFormat].decode(i & 255) + 0;
          expectSameBits(arena.f32(out, 65536), expected, `${aFormat} × ${wFormat}`);
        }
      }
    });

    it('writes the outputs of its range and nothing else, for any split', async () => {
      const c = splitCase('one');
      const args = await placeCase(arena, c);
      const outStride = 160;
      const out = arena.bytes(4 * 5 * outStride);
      for (const [n0, n1] of [
        [0, 16],
        [16, 48],
        [48, 64],
        [64, 149],
      ] as const) {
        const w = arena.put(c.w.subarray(n0 * 130, n1 * 130));
        const packed = await arena.kernels.packWeights('f8e4m3fn', w, n1 - n0, 130);
        const wScales = arena.put(c.wScales!.subarray((n0 / 16) * 2));
        await arena.kernels.gemmFp8({ ...args, packed, wScales, n: n1 - n0, out: out + 4 * n0, outStride });
      }
      const rows = arena.f32(out, 5 * outStride);
      for (let row = 0; row < 5; row++)
        for (let column = 0; column < outStride; column++) {
          const wanted = column < 149 ? c.expected[row * 150 + column] : UNWRITTEN;
          expect(Object.is(rows[row * outStride + column], wanted), `row ${row} column ${column}`).toBe(true);
        }
      arena.expectCanariesIntact();
    });

    it('refuses a scale block that would split a packed group', async () => {
      const operands = { a: 0, packed: 0, aScales: 0, wScales: 0, out: 0, blockN: 1 };
      for (const blockK of [0, 6, 48, 192]) {
        const refused = arena.kernels.gemmFp8({ ...operands, ...fp8, m: 1, n: 32, k: 256, blockK });
        await expect(refused).rejects.toBeInstanceOf(QuaverError);
        await expect(refused).rejects.toMatchObject({ code: 'kernel-argument' });
      }
    });
  });

  describe('gemmBf16', () => {
    const names = Object.keys(bf16Codes) as (keyof typeof bf16Codes)[];
    it.each(names)('matches the canonical loop bit for bit: %s', async (name) => {
      for (const c of bf16Cases(name)) await expectCase(arena, c, name);
    });
  });

  describe('gemmF32', () => {
    const names = Object.keys(f32Values) as (keyof typeof f32Values)[];
    it.each(names)('matches the canonical loop bit for bit: %s', async (name) => {
      for (const c of f32Cases(name)) await expectCase(arena, c, name);
    });
  });

  it.each(['bf16 × f8e4m3fn', 'bf16 × f8e5m2', 'f8e4m3fn × bf16', 'f8e5m2 × bf16', 'bf16 × bf16'] as const)(
    'gemm of two formats matches the canonical loop bit for bit: %s',
    async (key) => {
      for (const c of mixedCases(key)) await expectCase(arena, c, JSON.stringify(c.scales));
    },
  );

  it('gemm of more rows than a block has', async () => {
    for (const c of tallCases('all')) await expectCase(arena, c, 'tall');
  });

  it('pack and stage read a matrix by its strides, and unpack gives its rows back', async () => {
    const random = new Random(9);
    for (const format of ['f32', 'bf16', 'f8e4m3fn', 'f8e5m2'] as const) {
      for (const [n, k] of [
        [1, 1],
        [33, 7],
        [70, 129],
        [64, 300],
      ] as const) {
        arena.reset();
        // Codes from numbers, so that BF16 has none that packing flushes, and −0 only in the other formats.
        const number = () => random.normal() || 1;
        const encode = format === 'f32' ? f : format === 'bf16' ? bf16.encode : formats[format].encode;
        const w = arrayOf(format, n * k, () => encode(number()));
        const [rowStride, columnStride] = [3, 3 * n + 2];
        const spread = arrayOf(format, 3 * n + k * (3 * n + 2), () => encode(number()));
        for (let r = 0; r < n; r++)
          for (let c = 0; c < k; c++) spread[r * rowStride + c * columnStride] = w[r * k + c]!;
        const dense = await arena.kernels.packWeights(format, arena.put(w), n, k);
        const strided = await arena.kernels.packWeights(format, arena.put(spread), n, k, rowStride, columnStride);
        const bytes = arena.engine.packedBytes(format, n, k);
        expect(Buffer.compare(arena.u8(dense, bytes), arena.u8(strided, bytes)), `${format} ${n}×${k}`).toBe(0);
        const out = arena.bytes(w.byteLength);
        await arena.kernels.unpackWeights(format, strided, out, n, k);
        const raw = new Uint8Array(w.buffer, 0, w.byteLength);
        expect(Buffer.compare(arena.u8(out, w.byteLength), raw), `${format} ${n}×${k}`).toBe(0);
        arena.expectCanariesIntact();
      }
    }
  });
});
