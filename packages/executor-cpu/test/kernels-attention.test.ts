import { bf16, f8e4m3fn, f8e8m0fnu, QuaverError } from '@quaver/numerics';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { engineKinds } from './engines.ts';
import { Arena, expectSameBits, once, Random } from './kernels-arena.ts';
import { flushed, referenceDot, referenceExp, referenceMax, referenceSum } from './kernels-reference.ts';

const f = Math.fround;
type Cache = 'f32' | 'bf16' | 'f8e4m3fn';

interface Shape {
  b: number;
  t: number;
  s: number;
  qHeads: number;
  kvHeads: number;
  d: number;
}
interface Case extends Shape {
  cache: Cache;
  probs?: Cache;
  window?: number;
  start: Int32Array;
  /** By sequence and query. */
  firstKey?: Int32Array;
}

/** Raw tensors and the f32 operands that they stand for. */
function makeOperands(random: Random, { b, t, s, qHeads, kvHeads, d, cache }: Case, wild: boolean) {
  const spread = () => (wild ? random.normal() * 2 ** random.integer(-60, 8) : random.normal());
  const tensor = (size: number, format: Cache) => {
    if (format === 'f32') {
      const raw = random.f32s(size, spread);
      return { raw, values: raw };
    }
    const raw = Uint16Array.from({ length: size }, () => bf16.encode(spread()));
    return { raw, values: Float32Array.from(raw, (code) => flushed(bf16.decode(code))) };
  };
  const q = tensor(b * t * qHeads * d, cache === 'f32' ? 'f32' : 'bf16');
  const cached = () => {
    if (cache !== 'f8e4m3fn') return { ...tensor(b * s * kvHeads * d, cache), scales: new Uint8Array() };
    const raw = Uint8Array.from({ length: b * s * kvHeads * d }, () => f8e4m3fn.encode(random.normal() * 60));
    const scales = Uint8Array.from(
      { length: b * s * kvHeads },
      () => 127 + (wild ? random.integer(-80, 10) : random.integer(-7, -3)),
    );
    const values = Float32Array.from(raw, (code, i) =>
      flushed(f8e4m3fn.decode(code) * f8e8m0fnu.decode(scales[Math.floor(i / d)]!)),
    );
    return { raw, values, scales };
  };
  return { q, k: cached(), v: cached() };
}
type Operands = ReturnType<typeof makeOperands>;

function roundProbability(p: number, probs: Cache): number {
  if (probs === 'f32') return p;
  if (probs === 'bf16') return flushed(bf16.decode(bf16.encode(p)));
  return f8e4m3fn.decode(f8e4m3fn.encode(f(p * 256))) / 256;
}

function referenceAttention(c: Case, { q, k, v }: Operands, scale: number): Float32Array {
  const { b, t, s, qHeads, kvHeads, d } = c;
  const probs = c.probs ?? (c.cache === 'f32' ? 'f32' : 'bf16');
  const out = new Float32Array(b * t * qHeads * d);
  for (let row = 0; row < b * t * qHeads; row++) {
    const [batch, step, head] = [Math.floor(row / (t * qHeads)), Math.floor(row / qHeads) % t, row % qHeads];
    const kvHead = Math.floor((head * kvHeads) / qHeads);
    const cacheAt = (j: number, i: number) => ((batch * s + j) * kvHeads + kvHead) * d + i;
    const position = c.start[batch]! + step;
    const to = Math.max(0, Math.min(s, position + 1));
    const first = Math.min(c.firstKey?.[batch * t + step] ?? 0, position);
    const from = Math.max(0, first, c.window ? position - c.window + 1 : 0);
    const score: number[] = [];
    for (let j = from; j < to; j++)
      score[j] = f(
        referenceDot(
          0,
          d,
          (i) => q.values[row * d + i]!,
          (i) => k.values[cacheAt(j, i)]!,
        ) * f(scale),
      );
    const largest = referenceMax(score.slice(from, to));
    const e = score.map((x) => referenceExp(f(x - largest)));
    const sum = referenceSum(from, to, (j) => e[j]!);
    const p = e.map((x) => roundProbability(f(x / sum), probs));
    for (let i = 0; i < d; i++)
      out[row * d + i] = referenceDot(
        from,
        to,
        (j) => p[j]!,
        (j) => v.values[cacheAt(j, i)]!,
      );
  }
  return out;
}

function place(arena: Arena, c: Case, { q, k, v }: Operands) {
  const { start, firstKey, ...shape } = c;
  return {
    ...shape,
    q: arena.put(q.raw),
    k: arena.put(k.raw),
    v: arena.put(v.raw),
    kScales: arena.put(k.scales),
    vScales: arena.put(v.scales),
    start: arena.put(start),
    firstKey: firstKey && arena.put(firstKey),
    out: arena.bytes(4 * c.b * c.t * c.qHeads * c.d),
    scale: 1 / Math.sqrt(c.d),
  };
}

type Raw = Uint8Array | Uint16Array | Float32Array;

/** [b, s, …] in pages that lie in any order among others, all of them full of what is no number. */
function cutIntoPages(random: Random, { b, s, kvHeads, d }: Case, { k, v }: Operands, pageTokens: number) {
  const columns = Math.ceil(s / pageTokens);
  const pageCount = b * columns + 3;
  const order = Array.from({ length: pageCount }, (_, i) => ({ i, at: random.normal() }));
  const pages = Int32Array.from(order.sort((x, y) => x.at - y.at).slice(3), ({ i }) => i);
  const cut = <T extends Raw>(raw: T, width: number): T => {
    if (raw.length === 0) return raw;
    const bytes = new Uint8Array(pageCount * pageTokens * width * raw.BYTES_PER_ELEMENT).fill(0xff);
    const cache = new (raw.constructor as new (buffer: ArrayBuffer) => T)(bytes.buffer);
    for (let token = 0; token < b * s; token++) {
      const [row, key] = [Math.floor(token / s), token % s];
      const page = pages[row * columns + Math.floor(key / pageTokens)]!;
      cache.set(raw.subarray(token * width, (token + 1) * width), (page * pageTokens + (key % pageTokens)) * width);
    }
    return cache;
  };
  const cached = (x: Operands['k']) => ({ raw: cut(x.raw as Raw, kvHeads * d), scales: cut(x.scales, kvHeads) });
  return { k: cached(k), v: cached(v), pages, pageCount, pageTokens, s: columns * pageTokens };
}

/** Puts the cache of a call into pages; a page of `missing` does not exist any more. */
function placePages(arena: Arena, cut: ReturnType<typeof cutIntoPages>, missing: ReadonlyMap<number, number>) {
  const { k, v, pages, pageCount, pageTokens, s } = cut;
  return {
    ...{ s, pageCount, pageTokens, k: arena.put(k.raw), v: arena.put(v.raw) },
    ...{ kScales: arena.put(k.scales), vScales: arena.put(v.scales) },
    pages: arena.put(pages.map((page, i) => missing.get(i) ?? page)),
  };
}

interface Known {
  readonly c: Case;
  readonly operands: Operands;
  readonly expected: Float32Array;
}

function makeKnown(c: Case, random: Random, wild = false): Known {
  const operands = makeOperands(random, c, wild);
  return { c, operands, expected: referenceAttention(c, operands, 1 / Math.sqrt(c.d)) };
}

interface Variant {
  readonly cache: Cache;
  readonly probs?: Cache;
}
const variants: readonly Variant[] = [
  { cache: 'f32' },
  { cache: 'bf16' },
  { cache: 'f8e4m3fn' },
  { cache: 'f8e4m3fn', probs: 'f8e4m3fn' },
  { cache: 'bf16', probs: 'f32' },
  { cache: 'f32', probs: 'bf16' },
];

const randomShapes = once((variant: Variant) => {
  const random = new Random(8);
  return Array.from({ length: 14 }, (_, trial) => {
    const kvHeads = random.integer(1, 3);
    const [b, t, s] = [random.integer(1, 3), random.integer(1, 20), random.integer(1, 300)];
    const start = Int32Array.from({ length: b }, () => random.integer(0, Math.max(0, s - t)));
    const shape = { b, t, s, kvHeads, qHeads: kvHeads * random.integer(1, 4), d: random.pick([1, 5, 8, 20, 64]) };
    const window = random.pick([0, 0, 1, 3, 50, 130]);
    // Before, among and past the keys.
    const firstKey = Int32Array.from({ length: b * t }, () => random.integer(-3, s + 3));
    const packed = trial % 2 === 0 ? {} : { firstKey };
    return makeKnown({ ...variant, ...shape, ...packed, start, window }, random, trial % 3 === 2);
  });
});

/** Those whose queries do not reach what fills the last page up. */
const withinCache = (variant: Variant) =>
  randomShapes(variant).filter(({ c }) => c.start.every((start) => start + c.t <= c.s));

const edgeShapes = once((variant: Variant) => {
  const random = new Random(9);
  const wide = { b: 2, t: 6, s: 140, qHeads: 2, kvHeads: 1, d: 130 };
  const many = { b: 1, t: 3, s: 9, qHeads: 100, kvHeads: 2, d: 4 };
  const beyond = { b: 2, t: 8, s: 10, qHeads: 2, kvHeads: 2, d: 8 };
  const far = { b: 2, t: 2, s: 40, qHeads: 3, kvHeads: 1, d: 16 };
  return [
    makeKnown({ ...variant, ...wide, start: Int32Array.of(134, 138), window: 0 }, random),
    makeKnown({ ...variant, ...many, start: Int32Array.of(3), window: 2 }, random),
    makeKnown({ ...variant, ...beyond, start: Int32Array.of(8, -4), window: 4 }, random),
    makeKnown({ ...variant, ...far, start: Int32Array.of(2 ** 31 - 1, -(2 ** 31)), window: 0 }, random),
    makeKnown({ ...variant, ...far, start: Int32Array.of(2 ** 31 - 1, -(2 ** 31)), window: 7 }, random),
    makeKnown({ ...variant, ...far, start: Int32Array.of(39, 5), window: 2 ** 32 - 1 }, random),
    makeKnown(
      { ...variant, ...far, start: Int32Array.of(20, 5), firstKey: Int32Array.of(2 ** 31 - 1, -(2 ** 31), 6, 7) },
      random,
    ),
  ];
});

const base = { b: 2, s: 400, qHeads: 6, kvHeads: 2, d: 24, cache: 'f8e4m3fn' as const };
const whole = once((t: number) => makeKnown({ ...base, t, start: Int32Array.of(0, 200) }, new Random(2)));
const sequences = once((_: 'two') => makeKnown({ ...base, t: 5, start: Int32Array.of(100, 37) }, new Random(3)));
const poisoned = once((_: 'one') => {
  const shape = { b: 1, t: 40, s: 40, qHeads: 2, kvHeads: 1, d: 16 };
  const c: Case = { ...shape, cache: 'bf16', start: Int32Array.of(0), window: 9 };
  const operands = makeOperands(new Random(4), c, false);
  for (const { values, raw } of [operands.k, operands.v]) {
    values.set([NaN, Infinity, -Infinity], 20 * 16 + 3);
    (raw as Uint16Array).set([0x7fc0, 0x7f80, 0xff80], 20 * 16 + 3);
  }
  return { c, operands, expected: referenceAttention(c, operands, 1 / Math.sqrt(16)) };
});

/** The rows of `step` … of [b, t, heads, d]. */
function steps(x: Float32Array, t: number, from: number, count: number, width: number): Float32Array {
  const rows = [0, 1].map((batch) => x.slice((batch * t + from) * width, (batch * t + from + count) * width));
  return Float32Array.from([...rows[0]!, ...rows[1]!]);
}

describe.each(engineKinds)('$name', (kind) => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open(kind);
  });
  afterAll(() => arena.close());
  beforeEach(() => arena.reset());

  async function expectReference({ c, operands, expected }: Known): Promise<void> {
    arena.reset();
    const args = place(arena, c, operands);
    await arena.kernels.attention(args);
    expectSameBits(arena.f32(args.out, expected.length), expected, JSON.stringify(c));
    arena.expectCanariesIntact();
  }

  describe.each(variants)('attention over a $cache cache (probabilities $probs)', (variant) => {
    it('matches the loops bit for bit on random shapes', async () => {
      for (const known of randomShapes(variant)) await expectReference(known);
    });

    it.each([1, 5, 16, 32, 64, 128])('matches with its cache in pages of %i tokens', async (pageTokens) => {
      const random = new Random(pageTokens);
      for (const { c, operands, expected } of withinCache(variant)) {
        arena.reset();
        const cut = cutIntoPages(random, c, operands, pageTokens);
        const args = { ...place(arena, c, operands), ...placePages(arena, cut, new Map()) };
        await arena.kernels.attention(args);
        expectSameBits(arena.f32(args.out, expected.length), expected, JSON.stringify(c));
        arena.expectCanariesIntact();
      }
    });

    it.each(['canonical', 'fast'] as const)('reads zeros where a page does not exist, %s', async (reduction) => {
      const random = new Random(7);
      for (const { c, operands } of withinCache(variant)) {
        arena.reset();
        const pageTokens = random.pick([4, 16, 64]);
        const columns = Math.ceil(c.s / pageTokens);
        const cut = cutIntoPages(random, c, operands, pageTokens);
        const missing = new Map(
          Array.from(cut.pages.keys())
            .filter(() => random.integer(0, 2) === 0)
            .map((i) => [i, random.pick([-1, -(2 ** 31), cut.pageCount, 2 ** 31 - 1])]),
        );
        const zeroed = ({ raw, scales, values }: Operands['k']): Operands['k'] => {
          const without = <T extends Raw>(tensor: T, width: number): T => {
            const copy = tensor.slice() as T;
            for (const i of missing.keys()) {
              const [row, first] = [Math.floor(i / columns), (i % columns) * pageTokens];
              const end = Math.min(c.s, first + pageTokens);
              copy.fill(0, (row * c.s + first) * width, (row * c.s + end) * width);
            }
            return copy;
          };
          const cache = without(raw as Raw, c.kvHeads * c.d);
          return { raw: cache, scales: without(scales, c.kvHeads), values } as Operands['k'];
        };
        const whole = place(arena, c, { ...operands, k: zeroed(operands.k), v: zeroed(operands.v) });
        await arena.kernels.attention({ ...whole, reduction });
        const out = arena.bytes(4 * c.b * c.t * c.qHeads * c.d);
        await arena.kernels.attention({ ...whole, ...placePages(arena, cut, missing), out, reduction });
        const size = c.b * c.t * c.qHeads * c.d;
        expectSameBits(arena.f32(out, size), arena.f32(whole.out, size), JSON.stringify(c));
        arena.expectCanariesIntact();
      }
    });

    it('matches with heads of 130 elements, many query heads, and queries before and past the cache', async () => {
      for (const known of edgeShapes(variant)) await expectReference(known);
    });
  });

  describe('attention', () => {
    it('gives decode, chunked prefill and whole prefill the same bits', async () => {
      const t = 150;
      const { c, operands, expected } = whole(t);
      const args = place(arena, c, operands);
      await arena.kernels.attention(args);
      const width = base.qHeads * base.d;
      expectSameBits(arena.f32(args.out, 2 * t * width), expected, 'whole');
      for (const chunk of [1, 7, 64]) {
        for (let step = 0; step < t; step += chunk) {
          const count = Math.min(chunk, t - step);
          const q = Uint16Array.from(
            [0, 1].flatMap((batch) => [
              ...operands.q.raw.subarray((batch * t + step) * width, (batch * t + step + count) * width),
            ]),
          );
          const start = arena.put(Int32Array.of(step, 200 + step));
          const out = arena.bytes(4 * 2 * count * width);
          await arena.kernels.attention({ ...args, q: arena.put(q), t: count, start, out });
          const wanted = steps(expected, t, step, count, width);
          expectSameBits(arena.f32(out, 2 * count * width), wanted, `chunk ${chunk} at ${step}`);
        }
      }
      arena.expectCanariesIntact();
    });

    it('gives each sequence, and each group of heads, the bits that it has alone', async () => {
      const { c, operands, expected } = sequences('two');
      const args = place(arena, c, operands);
      const { q, k, v } = operands;
      const width = base.qHeads * base.d;
      for (const batch of [0, 1]) {
        const cached = base.s * base.kvHeads;
        const cache = { k: k.raw.subarray(batch * cached * 24, (batch + 1) * cached * 24) as Uint8Array };
        const alone = {
          ...args,
          b: 1,
          q: arena.put(q.raw.subarray(batch * 5 * width, (batch + 1) * 5 * width)),
          k: arena.put(cache.k),
          v: arena.put(v.raw.subarray(batch * cached * 24, (batch + 1) * cached * 24)),
          kScales: arena.put(k.scales.subarray(batch * cached, (batch + 1) * cached)),
          vScales: arena.put(v.scales.subarray(batch * cached, (batch + 1) * cached)),
          start: arena.put(c.start.subarray(batch, batch + 1)),
          out: arena.bytes(4 * 5 * width),
        };
        await arena.kernels.attention(alone);
        const wanted = expected.subarray(batch * 5 * width, (batch + 1) * 5 * width);
        expectSameBits(arena.f32(alone.out, 5 * width), wanted, `sequence ${batch}`);
      }
      for (const head of [0, 1, 2, 3, 4, 5]) {
        const kvHead = Math.floor(head / 3);
        const pick = <Raw extends Uint8Array | Uint16Array | Float32Array>(
          raw: Raw,
          heads: number,
          which: number,
          d: number,
        ) => raw.filter((_, i) => Math.floor(i / d) % heads === which) as Raw;
        const alone = {
          ...args,
          qHeads: 1,
          kvHeads: 1,
          q: arena.put(pick(q.raw, 6, head, 24)),
          k: arena.put(pick(k.raw, 2, kvHead, 24)),
          v: arena.put(pick(v.raw, 2, kvHead, 24)),
          kScales: arena.put(pick(k.scales, 2, kvHead, 1)),
          vScales: arena.put(pick(v.scales, 2, kvHead, 1)),
          out: arena.bytes(4 * 2 * 5 * 24),
        };
        await arena.kernels.attention(alone);
        expectSameBits(arena.f32(alone.out, 2 * 5 * 24), pick(expected, 6, head, 24), `head ${head}`);
      }
      arena.expectCanariesIntact();
    });

    it('keeps Inf and NaN of keys and values that a query must not see out of its row', async () => {
      const { c, operands, expected } = poisoned('one');
      const args = place(arena, c, operands);
      await arena.kernels.attention(args);
      const out = arena.f32(args.out, 40 * 2 * 16);
      expectSameBits(out, expected, 'poisoned');
      for (let step = 0; step < 40; step++) {
        const sees = step >= 20 && step < 29;
        expect(out.subarray(step * 32, step * 32 + 32).some(Number.isNaN), `query ${step}`).toBe(sees);
      }
    });

    it('ignores what lies in the cache beyond the visible keys', async () => {
      const c: Case = { ...base, b: 1, t: 3, start: Int32Array.of(130) };
      const args = place(arena, c, makeOperands(new Random(5), c, false));
      await arena.kernels.attention(args);
      const before = arena.f32(args.out, 3 * 6 * 24);
      for (const cache of [args.k, args.v]) arena.fill(0x7f, cache + 133 * 2 * 24, cache + 400 * 2 * 24);
      for (const scales of [args.kScales, args.vScales]) arena.fill(0xff, scales + 133 * 2, scales + 400 * 2);
      await arena.kernels.attention(args);
      expectSameBits(arena.f32(args.out, 3 * 6 * 24), before, 'unwritten keys');
    });

    it.each([true, false])(
      'decodes every E4M3FN code with every E8M0 scale (NaN codes among them: %s)',
      async (withNaN) => {
        // One key per sequence has probability 1, so the output is the value itself; −0 becomes +0 in the accumulator.
        const codes = Uint8Array.from({ length: 256 }, (_, code) => (withNaN || (code & 0x7f) !== 0x7f ? code : 0));
        const v = new Uint8Array(65536);
        for (let scale = 0; scale < 256; scale++) v.set(codes, scale * 256);
        const zeros = arena.put(new Uint8Array(2 * 65536));
        const vScales = arena.put(Uint8Array.from({ length: 256 }, (_, scale) => scale));
        const out = arena.bytes(4 * 65536);
        const shape = { b: 256, t: 1, s: 1, qHeads: 1, kvHeads: 1, d: 256, scale: 1 };
        const operands = { q: zeros, k: zeros, kScales: zeros, v: arena.put(v), vScales, start: zeros };
        await arena.kernels.attention({ cache: 'f8e4m3fn', ...shape, ...operands, out });
        const expected = Float32Array.from(v, (code, i) => {
          const value = f8e4m3fn.decode(code) * f8e8m0fnu.decode(i >> 8);
          return flushed(f(value)) + 0;
        });
        expectSameBits(arena.f32(out, 65536), expected, 'values');
      },
    );

    it('names arguments that do not fit together', async () => {
      const c: Case = { ...base, t: 1, start: Int32Array.of(0, 0) };
      const args = place(arena, c, makeOperands(new Random(6), c, false));
      const refused = arena.kernels.attention({ ...args, kvHeads: 4 });
      await expect(refused).rejects.toBeInstanceOf(QuaverError);
      await expect(refused).rejects.toThrowError(/query heads that do not divide/);
      const { kScales: _, ...unscaled } = args;
      await expect(arena.kernels.attention(unscaled)).rejects.toThrowError(/FP8 cache without scales/);
      const e5m2 = { ...args, cache: 'f8e5m2' as 'bf16' };
      await expect(arena.kernels.attention(e5m2)).rejects.toThrowError(/E5M2/);
      const paged = { ...args, pages: args.start, pageCount: 9, pageTokens: 16, s: 40 };
      await expect(arena.kernels.attention(paged)).rejects.toThrowError(/do not fill their pages/);
      await expect(arena.kernels.attention({ ...paged, pageTokens: 0 })).rejects.toThrowError(
        /do not fill their pages/,
      );
    });
  });
});
