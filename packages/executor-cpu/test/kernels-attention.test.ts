import { bf16, f8e4m3fn, f8e8m0fnu, QuaverError } from '@quaver/numerics';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Arena, expectSameBits, Random, UNWRITTEN } from './kernels-arena.ts';
import { flushed, referenceDot, referenceExp, referenceMax, referenceSum } from './kernels-reference.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.create();
});
beforeEach(() => arena.reset());

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
    const from = c.window ? Math.max(0, position - c.window + 1) : 0;
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

function place(c: Case, { q, k, v }: Operands) {
  const { start, ...shape } = c;
  const scratchBytes = arena.kernels.attentionScratchBytes(c.s, c.d);
  return {
    ...shape,
    q: arena.put(q.raw),
    k: arena.put(k.raw),
    v: arena.put(v.raw),
    kScales: arena.put(k.scales),
    vScales: arena.put(v.scales),
    start: arena.put(start),
    out: arena.bytes(4 * c.b * c.t * c.qHeads * c.d),
    scratch: arena.bytes(scratchBytes),
    scale: 1 / Math.sqrt(c.d),
  };
}

function expectReference(c: Case, random: Random, wild: boolean): void {
  const operands = makeOperands(random, c, wild);
  const args = place(c, operands);
  arena.kernels.attention(args);
  const expected = referenceAttention(c, operands, args.scale);
  expectSameBits(arena.f32(args.out, expected.length), expected, JSON.stringify(c));
  arena.expectCanariesIntact();
}

const variants: readonly { cache: Cache; probs?: Cache }[] = [
  { cache: 'f32' },
  { cache: 'bf16' },
  { cache: 'f8e4m3fn' },
  { cache: 'f8e4m3fn', probs: 'f8e4m3fn' },
  { cache: 'bf16', probs: 'f32' },
];

describe.each(variants)('attention over a $cache cache (probabilities $probs)', (variant) => {
  it('matches the loops bit for bit on random shapes', () => {
    const random = new Random(8);
    for (let trial = 0; trial < 14; trial++) {
      arena.reset();
      const kvHeads = random.integer(1, 3);
      const [b, t, s] = [random.integer(1, 3), random.integer(1, 20), random.integer(1, 300)];
      const start = Int32Array.from({ length: b }, () => random.integer(0, Math.max(0, s - t)));
      const shape = { b, t, s, kvHeads, qHeads: kvHeads * random.integer(1, 4), d: random.pick([1, 5, 8, 20, 64]) };
      const window = random.pick([0, 0, 1, 3, 50, 130]);
      expectReference({ ...variant, ...shape, start, window }, random, trial % 3 === 2);
    }
  });

  it('matches with heads of 130 elements, many query heads and queries past the end of the cache', () => {
    const random = new Random(9);
    const shape = { b: 2, t: 6, s: 140, qHeads: 2, kvHeads: 1, d: 130 };
    expectReference({ ...variant, ...shape, start: Int32Array.of(134, 138), window: 0 }, random, false);
    arena.reset();
    const many = { b: 1, t: 3, s: 9, qHeads: 100, kvHeads: 2, d: 4 };
    expectReference({ ...variant, ...many, start: Int32Array.of(3), window: 2 }, random, false);
    arena.reset();
    const beyond = { b: 2, t: 8, s: 10, qHeads: 2, kvHeads: 2, d: 8 };
    expectReference({ ...variant, ...beyond, start: Int32Array.of(8, -4), window: 4 }, random, false);
  });
});

describe('attention', () => {
  const base = { b: 2, s: 400, qHeads: 6, kvHeads: 2, d: 24, cache: 'f8e4m3fn' as const };

  /** The rows of `step` … of [b, t, heads, d]. */
  const steps = (x: Float32Array, t: number, from: number, count: number, width: number) => {
    const rows = [0, 1].map((batch) => x.slice((batch * t + from) * width, (batch * t + from + count) * width));
    return Float32Array.from([...rows[0]!, ...rows[1]!]);
  };

  it('gives decode, chunked prefill and whole prefill the same bits', () => {
    const t = 150;
    const whole: Case = { ...base, t, start: Int32Array.of(0, 200) };
    const operands = makeOperands(new Random(2), whole, false);
    const args = place(whole, operands);
    arena.kernels.attention(args);
    const width = base.qHeads * base.d;
    const expected = arena.f32(args.out, 2 * t * width);
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
        arena.kernels.attention({ ...args, q: arena.put(q), t: count, start, out });
        expectSameBits(
          arena.f32(out, 2 * count * width),
          steps(expected, t, step, count, width),
          `chunk ${chunk} at ${step}`,
        );
      }
    }
    arena.expectCanariesIntact();
  });

  it('computes the heads of its range and nothing else', () => {
    const c: Case = { ...base, t: 5, start: Int32Array.of(100, 37) };
    const operands = makeOperands(new Random(3), c, false);
    const args = place(c, operands);
    for (const [n0, n1] of [
      [0, 1],
      [1, 5],
      [5, 5],
      [5, 11],
    ])
      arena.kernels.attention({ ...args, n0: n0!, n1: n1! });
    const expected = referenceAttention(c, operands, args.scale);
    // Head 5 of sequence 1 is the last pair, number 11.
    for (let step = 0; step < 5; step++) expected.fill(UNWRITTEN, ((5 + step) * 6 + 5) * 24, ((5 + step) * 6 + 6) * 24);
    expectSameBits(arena.f32(args.out, expected.length), expected, 'ranges');
    arena.expectCanariesIntact();
  });

  it('keeps Inf and NaN of keys and values that a query must not see out of its row', () => {
    const c: Case = {
      b: 1,
      t: 40,
      s: 40,
      qHeads: 2,
      kvHeads: 1,
      d: 16,
      cache: 'bf16',
      start: Int32Array.of(0),
      window: 9,
    };
    const operands = makeOperands(new Random(4), c, false);
    for (const { values, raw } of [operands.k, operands.v]) {
      values.set([NaN, Infinity, -Infinity], 20 * 16 + 3);
      (raw as Uint16Array).set([0x7fc0, 0x7f80, 0xff80], 20 * 16 + 3);
    }
    const args = place(c, operands);
    arena.kernels.attention(args);
    const out = arena.f32(args.out, 40 * 2 * 16);
    expectSameBits(out, referenceAttention(c, operands, args.scale), 'poisoned');
    for (let step = 0; step < 40; step++) {
      const sees = step >= 20 && step < 29;
      expect(out.subarray(step * 32, step * 32 + 32).some(Number.isNaN), `query ${step}`).toBe(sees);
    }
  });

  it('ignores what lies in the cache beyond the visible keys', () => {
    const c: Case = { ...base, b: 1, t: 3, start: Int32Array.of(130) };
    const operands = makeOperands(new Random(5), c, false);
    const args = place(c, operands);
    arena.kernels.attention(args);
    const before = arena.f32(args.out, 3 * 6 * 24);
    const memory = new Uint8Array(arena.kernels.memory.buffer);
    for (const cache of [args.k, args.v]) memory.fill(0x7f, cache + 133 * 2 * 24, cache + 400 * 2 * 24);
    arena.kernels.attention(args);
    expectSameBits(arena.f32(args.out, 3 * 6 * 24), before, 'unwritten keys');
  });

  it.each([true, false])('decodes every E4M3FN code with every E8M0 scale (NaN codes among them: %s)', (withNaN) => {
    // One key per sequence has probability 1, so the output is the value itself; −0 becomes +0 in the accumulator.
    const codes = Uint8Array.from({ length: 256 }, (_, code) => (withNaN || (code & 0x7f) !== 0x7f ? code : 0));
    const v = new Uint8Array(65536);
    for (let scale = 0; scale < 256; scale++) v.set(codes, scale * 256);
    const zeros = arena.put(new Uint8Array(2 * 65536));
    const vScales = arena.put(Uint8Array.from({ length: 256 }, (_, scale) => scale));
    const out = arena.bytes(4 * 65536);
    const scratch = arena.bytes(arena.kernels.attentionScratchBytes(1, 256));
    const shape = { b: 256, t: 1, s: 1, qHeads: 1, kvHeads: 1, d: 256, scale: 1 };
    const operands = { q: zeros, k: zeros, kScales: zeros, v: arena.put(v), vScales, start: zeros };
    arena.kernels.attention({ cache: 'f8e4m3fn', ...shape, ...operands, out, scratch });
    const expected = Float32Array.from(v, (code, i) => {
      const value = f8e4m3fn.decode(code) * f8e8m0fnu.decode(i >> 8);
      return flushed(f(value)) + 0;
    });
    expectSameBits(arena.f32(out, 65536), expected, 'values');
  });

  it('names arguments that do not fit together', () => {
    const c: Case = { ...base, t: 1, start: Int32Array.of(0, 0) };
    const args = place(c, makeOperands(new Random(6), c, false));
    expect(() => arena.kernels.attention({ ...args, kvHeads: 4 })).toThrowError(/multiple of kvHeads, found 6 and 4/);
    const { kScales: _, ...unscaled } = args;
    expect(() => arena.kernels.attention(unscaled)).toThrowError(QuaverError);
  });
});
