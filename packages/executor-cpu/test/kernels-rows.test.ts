import { canonicalSum, exp32, log32 } from '@quaver/numerics';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Arena, expectSameBits, Random } from './kernels-arena.ts';
import { referenceExp, referenceLog, referenceMax, referenceSum } from './kernels-reference.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.create();
});
beforeEach(() => arena.reset());

const f = Math.fround;
const lengths = [1, 2, 3, 4, 5, 15, 16, 17, 31, 64, 100, 576, 1537];

/** Applies `reference` to each row of x[rows, n]. */
function byRow(x: Float32Array, n: number, reference: (row: Float32Array) => ArrayLike<number>): Float32Array {
  const out = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += n) out.set(reference(x.subarray(at, at + n)), at);
  return out;
}

/** Runs a row kernel on x[3, n] beside a separate output and in place, and expects both to match. */
function expectRows(
  x: Float32Array,
  run: (x: number, out: number) => void,
  expected: Float32Array,
  what: string,
): void {
  const apart = arena.bytes(x.byteLength);
  run(arena.put(x), apart);
  expectSameBits(arena.f32(apart, x.length), expected, what);
  const inPlace = arena.put(x);
  run(inPlace, inPlace);
  expectSameBits(arena.f32(inPlace, x.length), expected, `${what}, in place`);
  arena.expectCanariesIntact();
}

/** Every 4099th f32, all exponents and NaNs included, and the neighbourhoods of the limits of exp. */
function probes(): Float32Array {
  const bits = new Uint32Array(1 << 20);
  for (let i = 0; i < bits.length; i++) bits[i] = Math.imul(i, 4099);
  const probes = new Float32Array(bits.buffer);
  const limits = [88.72283172607422, -87.33654022216797, 0, -0, Infinity, -Infinity, NaN, 1, -1];
  probes.set(limits);
  const words = new Int32Array(probes.buffer);
  for (let i = 0; i < 64; i++) {
    words[100 + i] = words[0]! - 32 + i;
    words[200 + i] = words[1]! - 32 + i;
  }
  return probes;
}

describe('exp and log', () => {
  it('of the reference, of numerics and of the kernels have the same bits', () => {
    const x = probes();
    const n = x.length;
    const silu = arena.bytes(4 * n);
    const ones = arena.put(new Float32Array(n).fill(1));
    arena.kernels.swiglu(arena.put(x), ones, silu, n);
    expectSameBits(
      arena.f32(silu, n),
      x.map((g) => f(g / f(1 + referenceExp(-g)))),
      'x / (1 + exp(−x))',
    );
    expectSameBits(x.map(exp32), x.map(referenceExp), 'exp32 of numerics');
    expectSameBits(x.map(log32), x.map(referenceLog), 'log32 of numerics');
    // The softmax of a row [0, y] is exp(y) itself for its second element once 1 + exp(y) rounds to 1.
    const tiny = Float32Array.from({ length: 1 << 16 }, (_, i) => -17 - i / 900);
    const pairs = Float32Array.from({ length: 1 << 17 }, (_, i) => (i % 2 === 0 ? 0 : tiny[i >> 1]!));
    const softmax = arena.bytes(4 << 17);
    arena.kernels.softmax(arena.put(pairs), softmax, 1 << 16, 2);
    expectSameBits(
      arena.f32(softmax, 1 << 17).filter((_, i) => i % 2 === 1),
      tiny.map(referenceExp),
      'exp',
    );
    // The log-softmax of a row [0, y] is −log(1 + exp(y)) for its first element: the kernel's log on (1, 2].
    const count = 1 << 17;
    const y = Float32Array.from({ length: count }, (_, i) => -i / 8192);
    const rows = Float32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? 0 : y[i >> 1]!));
    const out = arena.bytes(8 * count);
    arena.kernels.logSoftmax(arena.put(rows), out, count, 2);
    expectSameBits(
      arena.f32(out, 2 * count).filter((_, i) => i % 2 === 0),
      y.map((v) => f(0 - referenceLog(f(1 + referenceExp(v))))),
      'log',
    );
  });
});

const rowKinds = {
  realistic: (random: Random) => random.normal() * 3,
  'wide range': (random: Random) => random.normal() * 2 ** random.integer(-140, 40),
  'with infinities': (random: Random) => (random.unit() < 0.05 ? random.pick([Infinity, -Infinity]) : random.normal()),
  'with NaN': (random: Random) => (random.unit() < 0.02 ? NaN : random.normal()),
  zeros: (random: Random) => random.pick([0, -0]),
};

describe.each(Object.entries(rowKinds))('rows that are %s', (kind, value) => {
  it.each(lengths)('of length %i: softmax, log_softmax, rms_norm', (n) => {
    const random = new Random(n);
    const { kernels } = arena;
    const x = random.f32s(3 * n, () => value(random));
    const terms = (row: Float32Array) => {
      const largest = referenceMax(row);
      const e = row.map((v) => referenceExp(f(v - largest)));
      const sum = referenceSum(0, n, (i) => e[i]!);
      expect(canonicalSum(e, 0, n)).toBe(sum);
      return { largest, e, sum };
    };
    const softmax = byRow(x, n, (row) => {
      const { e, sum } = terms(row);
      return e.map((v) => f(v / sum));
    });
    expectRows(x, (from, to) => kernels.softmax(from, to, 3, n), softmax, `softmax ${kind}`);

    const logSoftmax = byRow(x, n, (row) => {
      const { largest, sum } = terms(row);
      return row.map((v) => f(f(v - largest) - referenceLog(sum)));
    });
    expectRows(x, (from, to) => kernels.logSoftmax(from, to, 3, n), logSoftmax, `log_softmax ${kind}`);

    const targets = Int32Array.from({ length: 3 }, () => random.integer(0, n - 1));
    const gathered = arena.bytes(12);
    kernels.logSoftmaxGather(arena.put(x), arena.put(targets), gathered, 3, n);
    const wanted = Float32Array.from(targets, (target, row) => logSoftmax[row * n + target]!);
    expectSameBits(arena.f32(gathered, 3), wanted, `log_softmax_gather ${kind}`);

    const weight = random.f32s(n, () => random.normal());
    const weightAt = arena.put(weight);
    const rmsNorm = byRow(x, n, (row) => {
      const meanSquare = f(referenceSum(0, n, (i) => f(row[i]! * row[i]!)) / n);
      const r = f(1 / f(Math.sqrt(f(meanSquare + f(1e-5)))));
      return row.map((v, i) => f(f(v * r) * weight[i]!));
    });
    expectRows(x, (from, to) => kernels.rmsNorm(from, weightAt, to, 3, n, 1e-5), rmsNorm, `rms_norm ${kind}`);
  });
});

describe('elementwise kernels', () => {
  it.each(lengths)('of length %i', (n) => {
    const random = new Random(n + 1);
    const { kernels } = arena;
    const a = random.f32s(3 * n, () => random.normal() * 2 ** random.integer(-130, 20));
    const b = random.f32s(3 * n, () => random.normal());
    const [bAt, bias] = [arena.put(b), arena.put(b.subarray(0, n))];
    expectRows(
      a,
      (x, out) => kernels.add(x, bAt, out, 3 * n),
      a.map((v, i) => f(v + b[i]!)),
      'add',
    );
    expectRows(
      a,
      (x, out) => kernels.multiply(x, bAt, out, 3 * n),
      a.map((v, i) => f(v * b[i]!)),
      'multiply',
    );
    expectRows(
      a,
      (x, out) => kernels.addBias(x, bias, out, 3, n),
      a.map((v, i) => f(v + b[i % n]!)),
      'add_bias',
    );
    const swiglu = b.map((g, i) => f(f(g / f(1 + referenceExp(-g))) * a[i]!));
    expectRows(b, (g, out) => kernels.swiglu(g, arena.put(a), out, 3 * n), swiglu, 'swiglu');
  });
});

describe('rope', () => {
  it.each([2, 6, 8, 18, 64, 128])('rotates halves of heads of %i', (d) => {
    const random = new Random(d);
    const [b, t, h, positions] = [3, 5, 2, 40];
    const half = d / 2;
    const x = random.f32s(b * t * h * d, () => random.normal());
    const angles = random.f32s(positions * half, () => random.unit() * 6);
    const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
    const start = Int32Array.of(0, 7, 35);
    const expected = x.map((v, index) => {
      const i = index % d;
      const row = start[Math.floor(index / (t * h * d))]! + (Math.floor(index / (h * d)) % t);
      const [c, s] = [cos[row * half + (i % half)]!, sin[row * half + (i % half)]!];
      return i < half ? f(f(v * c) - f(x[index + half]! * s)) : f(f(v * c) + f(x[index - half]! * s));
    });
    const [cosAt, sinAt, startAt] = [arena.put(cos), arena.put(sin), arena.put(start)];
    expectRows(
      x,
      (from, to) => arena.kernels.rope(from, cosAt, sinAt, startAt, to, b, t, h, d, positions),
      expected,
      'rope',
    );
  });

  it('refuses a position outside the table', () => {
    const at = arena.bytes(64);
    for (const start of [-1, 3, 0x7fffffff]) {
      const startAt = arena.put(Int32Array.of(start));
      expect(() => arena.kernels.rope(at, at, at, startAt, at, 1, 2, 1, 4, 4)).toThrowError(
        expect.objectContaining({ code: 'gather-index' }),
      );
    }
    arena.kernels.rope(at, at, at, arena.put(Int32Array.of(2)), at, 1, 2, 1, 4, 4);
  });
});

it('logSoftmaxGather names a target that is out of range, before it writes', () => {
  const out = arena.put(new Float32Array(2).fill(7));
  const logits = arena.put(new Float32Array(6));
  for (const id of [3, -1]) {
    expect(() => arena.kernels.logSoftmaxGather(logits, arena.put(Int32Array.of(0, id)), out, 2, 3)).toThrowError(
      expect.objectContaining({
        code: 'gather-index',
        message: `logSoftmaxGather: target 1 is ${id}, expected 0 … 2`,
      }),
    );
  }
  expectSameBits(arena.f32(out, 2), new Float32Array(2).fill(7), 'nothing written');
});
