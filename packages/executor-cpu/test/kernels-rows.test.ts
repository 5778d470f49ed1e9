import { canonicalSum, exp32, log32 } from '@quaver/numerics';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { engineKinds } from './engines.ts';
import { Arena, type At, expectSameBits, once, Random } from './kernels-arena.ts';
import type { BinaryOp, UnaryOp } from './kernels-calls.ts';
import { referenceExp, referenceLog, referenceMax, referenceSum } from './kernels-reference.ts';

const f = Math.fround;
const lengths = [1, 2, 3, 4, 5, 15, 16, 17, 31, 64, 100, 576, 1537];

/** Applies `reference` to each row of x[rows, n]. */
function byRow(x: Float32Array, n: number, reference: (row: Float32Array) => ArrayLike<number>): Float32Array {
  const out = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += n) out.set(reference(x.subarray(at, at + n)), at);
  return out;
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

const unaryReferences: Readonly<Record<UnaryOp, (x: number) => number>> = {
  negate: (x) => -x,
  abs: Math.abs,
  exp: referenceExp,
  log: referenceLog,
  sqrt: (x) => f(Math.sqrt(x)),
  silu: (x) => f(x / f(1 + referenceExp(-x))),
};

const binaryReferences: Readonly<Record<BinaryOp, (a: number, b: number) => number>> = {
  add: (a, b) => f(a + b),
  subtract: (a, b) => f(a - b),
  multiply: (a, b) => f(a * b),
  divide: (a, b) => f(a / b),
  maximum: Math.max,
  minimum: Math.min,
  swiglu: (gate, up) => f(f(gate / f(1 + referenceExp(-gate))) * up),
};

const elementary = once((_: 'all') => {
  const x = probes();
  const unary = Object.entries(unaryReferences).map(([op, of]) => ({ op: op as UnaryOp, expected: x.map(of) }));
  // The softmax of a row [0, y] is exp(y) itself for its second element once 1 + exp(y) rounds to 1.
  const tiny = Float32Array.from({ length: 1 << 16 }, (_, i) => -17 - i / 900);
  const pairs = Float32Array.from({ length: 1 << 17 }, (_, i) => (i % 2 === 0 ? 0 : tiny[i >> 1]!));
  // The log-softmax of a row [0, y] is −log(1 + exp(y)) for its first element: the kernel's log on (1, 2].
  const y = Float32Array.from({ length: 1 << 17 }, (_, i) => -i / 8192);
  const rows = Float32Array.from({ length: 1 << 18 }, (_, i) => (i % 2 === 0 ? 0 : y[i >> 1]!));
  return {
    x,
    unary,
    tiny: tiny.map(referenceExp),
    pairs,
    rows,
    logs: y.map((v) => f(0 - referenceLog(f(1 + referenceExp(v))))),
  };
});

const special = [0, -0, 1, -1, Infinity, -Infinity, NaN, 2 ** -149, -(2 ** -149), 2 ** -126, 3.4028234663852886e38];
const binaryCases = once((n: number) => {
  const random = new Random(n + 1);
  const a = random.f32s(3 * n, () => random.normal() * 2 ** random.integer(-130, 20));
  const b = random.f32s(3 * n, () => (random.unit() < 0.2 ? random.pick(special) : random.normal()));
  const cases = Object.entries(binaryReferences).map(([op, of]) => ({
    op: op as BinaryOp,
    expected: a.map((v, i) => of(v, b[i]!)),
    swapped: b.map((v, i) => of(v, a[i]!)),
  }));
  return { a, b, cases, bias: a.map((v, i) => f(v + b[i % n]!)) };
});

const rowKinds = {
  realistic: (random: Random) => random.normal() * 3,
  'wide range': (random: Random) => random.normal() * 2 ** random.integer(-140, 40),
  'with infinities': (random: Random) => (random.unit() < 0.05 ? random.pick([Infinity, -Infinity]) : random.normal()),
  'with NaN': (random: Random) => (random.unit() < 0.02 ? NaN : random.normal()),
  zeros: (random: Random) => random.pick([0, -0]),
};
type RowKind = keyof typeof rowKinds;

const rowCases = once((key: `${number} ${RowKind}`) => {
  const n = Number.parseInt(key, 10);
  const random = new Random(n);
  const value = rowKinds[key.slice(key.indexOf(' ') + 1) as RowKind];
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
  const logSoftmax = byRow(x, n, (row) => {
    const { largest, sum } = terms(row);
    return row.map((v) => f(f(v - largest) - referenceLog(sum)));
  });
  const targets = Int32Array.from({ length: 3 }, () => random.integer(0, n - 1));
  const gathered = Float32Array.from(targets, (target, row) => logSoftmax[row * n + target]!);
  const weight = random.f32s(n, () => random.normal());
  const rmsNorm = byRow(x, n, (row) => {
    const meanSquare = f(referenceSum(0, n, (i) => f(row[i]! * row[i]!)) / n);
    const r = f(1 / f(Math.sqrt(f(meanSquare + f(1e-5)))));
    return row.map((v, i) => f(f(v * r) * weight[i]!));
  });
  return { x, softmax, logSoftmax, targets, gathered, weight, rmsNorm };
});

describe('exp and log', () => {
  it('of the reference and of numerics have the same bits', () => {
    const x = probes();
    expectSameBits(x.map(exp32), x.map(referenceExp), 'exp32 of numerics');
    expectSameBits(x.map(log32), x.map(referenceLog), 'log32 of numerics');
  });
});

describe.each(engineKinds)('$name', (kind) => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open(kind);
  });
  afterAll(() => arena.close());
  beforeEach(() => arena.reset());

  /** Runs a row kernel on x[3, n] beside a separate output and in place, and expects both to match. */
  async function expectRows(
    x: Float32Array,
    run: (x: At, out: At) => Promise<unknown>,
    expected: Float32Array,
    what: string,
  ): Promise<void> {
    const apart = arena.bytes(x.byteLength);
    await run(arena.put(x), apart);
    expectSameBits(arena.f32(apart, x.length), expected, what);
    const inPlace = arena.put(x);
    await run(inPlace, inPlace);
    expectSameBits(arena.f32(inPlace, x.length), expected, `${what}, in place`);
    arena.expectCanariesIntact();
  }

  it('exp, log and the other functions of one number have the bits of the reference', async () => {
    const { x, unary, tiny, pairs, rows, logs } = elementary('all');
    const [at, out] = [arena.put(x), arena.bytes(x.byteLength)];
    for (const { op, expected } of unary) {
      await arena.kernels.unary(op, at, out, x.length / 1024, 1024);
      expectSameBits(arena.f32(out, x.length), expected, op);
    }
    const ones = arena.put(new Float32Array(x.length).fill(1));
    await arena.kernels.binary('swiglu', at, ones, out, x.length / 1024, 1024);
    expectSameBits(arena.f32(out, x.length), unary.at(-1)!.expected, 'x / (1 + exp(−x))');
    const softmax = arena.bytes(pairs.byteLength);
    await arena.kernels.softmax(arena.put(pairs), softmax, pairs.length / 2, 2);
    const seconds = arena.f32(softmax, pairs.length).filter((_, i) => i % 2 === 1);
    expectSameBits(seconds, tiny, 'exp');
    const logSoftmax = arena.bytes(rows.byteLength);
    await arena.kernels.logSoftmax(arena.put(rows), logSoftmax, rows.length / 2, 2);
    const firsts = arena.f32(logSoftmax, rows.length).filter((_, i) => i % 2 === 0);
    expectSameBits(firsts, logs, 'log');
    arena.expectCanariesIntact();
  });

  describe.each(Object.keys(rowKinds) as RowKind[])('rows that are %s', (what) => {
    it.each(lengths)('of length %i: softmax, log_softmax, rms_norm', async (n) => {
      const { kernels } = arena;
      const { x, softmax, logSoftmax, targets, gathered, weight, rmsNorm } = rowCases(`${n} ${what}`);
      await expectRows(x, (from, to) => kernels.softmax(from, to, 3, n), softmax, `softmax ${what}`);
      await expectRows(x, (from, to) => kernels.logSoftmax(from, to, 3, n), logSoftmax, `log_softmax ${what}`);
      const out = arena.bytes(12);
      expect(await kernels.logSoftmaxGather(arena.put(x), arena.put(targets), out, 3, n)).toBeUndefined();
      expectSameBits(arena.f32(out, 3), gathered, `log_softmax_gather ${what}`);
      const weightAt = arena.put(weight);
      await expectRows(x, (from, to) => kernels.rmsNorm(from, weightAt, to, 3, n, 1e-5), rmsNorm, `rms_norm ${what}`);
    });
  });

  describe('elementwise kernels', () => {
    it.each(lengths)('of length %i', async (n) => {
      const { kernels } = arena;
      const { a, b, cases, bias } = binaryCases(n);
      const [aAt, bAt, biasAt] = [arena.put(a), arena.put(b), arena.put(b.subarray(0, n))];
      for (const { op, expected, swapped } of cases) {
        await expectRows(a, (x, out) => kernels.binary(op, x, bAt, out, 3, n), expected, op);
        // In place on the other side, too: the output of swiglu is often where `up` was.
        await expectRows(a, (x, out) => kernels.binary(op, bAt, x, out, 1, 3 * n), swapped, `${op}, swapped`);
        await expectRows(b, (x, out) => kernels.binary(op, x, aAt, out, 3 * n, 1), swapped, `${op}, rows of 1`);
      }
      await expectRows(a, (x, out) => kernels.addBias(x, biasAt, out, 3, n), bias, 'add_row');
    });
  });

  describe('rope', () => {
    it.each([
      [2, 2],
      [6, 6],
      [8, 8],
      [18, 18],
      [64, 64],
      [128, 128],
      [64, 16],
      [10, 0],
      [96, 34],
    ])('rotates halves of heads of %i, on the first %i elements', async (d, rotated) => {
      const random = new Random(d);
      const [b, t, h, positions] = [3, 5, 2, 40];
      const half = rotated / 2;
      const x = random.f32s(b * t * h * d, () => random.normal());
      const angles = random.f32s(positions * half, () => random.unit() * 6);
      const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
      const start = Int32Array.of(0, 7, 35);
      const expected = x.map((v, index) => {
        const i = index % d;
        if (i >= rotated) return v;
        const row = start[Math.floor(index / (t * h * d))]! + (Math.floor(index / (h * d)) % t);
        const [c, s] = [cos[row * half + (i % half)]!, sin[row * half + (i % half)]!];
        return i < half ? f(f(v * c) - f(x[index + half]! * s)) : f(f(v * c) + f(x[index - half]! * s));
      });
      const [cosAt, sinAt, startAt] = [arena.put(cos), arena.put(sin), arena.put(start)];
      const run = async (from: At, to: At) => {
        const failure = await arena.kernels.rope([from, cosAt, sinAt, startAt, to], [b, t, h, d], positions, rotated);
        expect(failure).toBeUndefined();
      };
      await expectRows(x, run, expected, 'rope');
    });

    it('takes a position for every token', async () => {
      const [b, t, h, d, positions] = [2, 3, 2, 6, 20];
      const random = new Random(4);
      const x = random.f32s(b * t * h * d, () => random.normal());
      const angles = random.f32s((positions * d) / 2, () => random.unit() * 6);
      const tables = [arena.put(angles.map(Math.cos)), arena.put(angles.map(Math.sin))] as const;
      const each = Int32Array.of(0, 1, 0, 19, 7, 7);
      const out = arena.bytes(4 * x.length);
      const refs = [arena.put(x), ...tables, arena.put(each), out] as const;
      expect(await arena.kernels.rope(refs, [b, t, h, d], positions, d, true)).toBeUndefined();
      const found = arena.f32(out, x.length);
      for (const [token, position] of each.entries()) {
        const alone = arena.bytes(4 * h * d);
        const one = [arena.put(x.slice(token * h * d, (token + 1) * h * d)), ...tables] as const;
        await arena.kernels.rope([...one, arena.put(Int32Array.of(position)), alone], [1, 1, h, d], positions);
        expectSameBits(found.subarray(token * h * d, (token + 1) * h * d), arena.f32(alone, h * d), `token ${token}`);
      }
      const wrong = arena.put(Int32Array.of(0, 1, 0, 20, 7, 7));
      const failure = await arena.kernels.rope([refs[0], ...tables, wrong, out], [b, t, h, d], positions, d, true);
      expect(failure).toEqual({ instruction: 0, position: 3, found: 20, limit: positions });
    });

    it('refuses a position outside the table', async () => {
      const at = arena.put(new Float32Array(16));
      for (const [start, found] of [
        [-1, -1],
        [3, 4],
        [0x7fffffff, 0x7fffffff],
        [-(2 ** 31), -(2 ** 31)],
      ] as const) {
        const startAt = arena.put(Int32Array.of(start));
        const failure = await arena.kernels.rope([at, at, at, startAt, at], [1, 2, 1, 4], 4);
        expect(failure).toEqual({ instruction: 0, position: 0, found, limit: 4 });
      }
      const startAt = arena.put(Int32Array.of(2));
      expect(await arena.kernels.rope([at, at, at, startAt, at], [1, 2, 1, 4], 4)).toBeUndefined();
    });
  });

  it('logSoftmaxGather names a target that is out of range, and gives that row no value', async () => {
    const out = arena.put(new Float32Array(2).fill(7));
    const logits = arena.put(new Float32Array(6));
    for (const id of [3, -1, 0x7fffffff]) {
      const targets = arena.put(Int32Array.of(0, id));
      const failure = await arena.kernels.logSoftmaxGather(logits, targets, out, 2, 3);
      expect(failure).toEqual({ instruction: 0, position: 1, found: id, limit: 3 });
    }
    expect(arena.f32(out, 2)[1]).toBe(7);
    arena.expectCanariesIntact();
  });
});
