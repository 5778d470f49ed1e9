import type { HostTensor } from '@quaver/ir';
import { exp32, log32 } from '@quaver/numerics';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bitsOf, floats, numbersOf, randomNumbers, runOne, stored } from './op-runner.ts';

const f = Math.fround;

/** Σ a[k]·b[k] as numerics.md writes it, for one output element. */
function orderedDot(
  a: readonly number[],
  b: readonly number[],
  segment: number,
  scale?: (s: number) => number,
): number {
  let out = 0;
  for (let s = 0; s * segment < a.length; s++) {
    let sum = 0;
    for (let k = s * segment; k < Math.min(a.length, (s + 1) * segment); k++) sum = f(sum + f(a[k]! * b[k]!));
    out = f(out + (scale ? f(sum * scale(s)) : sum));
  }
  return out;
}

/** The row reduction of numerics.md: sixteen interleaved partials, then the fixed tree. */
function orderedSum(values: readonly number[]): number {
  let level = Array.from({ length: 16 }, (_, lane) =>
    values.filter((_, i) => i % 16 === lane).reduce((sum, value) => f(sum + value), 0),
  );
  while (level.length > 1) {
    const half = level.length / 2;
    level = Array.from({ length: half }, (_, i) => f(level[i]! + level[i + half]!));
  }
  return level[0]!;
}

function matrix(tensor: HostTensor): number[][] {
  const width = tensor.type.shape[1]!;
  const values = numbersOf(tensor);
  return Array.from({ length: tensor.type.shape[0]! }, (_, i) => values.slice(i * width, (i + 1) * width));
}

describe('dot_general adds in the canonical order', () => {
  const shapes = fc.record({
    m: fc.integer({ min: 0, max: 5 }),
    n: fc.integer({ min: 0, max: 11 }),
    k: fc.integer({ min: 0, max: 300 }),
    promote: fc.constantFrom(1, 3, 16, 128, 1000),
    dtype: fc.constantFrom('f32' as const, 'bf16' as const, 'f16' as const, 'f8e4m3fn' as const, 'f8e5m2' as const),
    seed: fc.integer(),
  });

  test('every output bit, for random shapes', () => {
    fc.assert(
      fc.property(shapes, ({ m, n, k, promote, dtype, seed }) => {
        const lhs = floats(dtype, [m, k], randomNumbers(m * k, seed));
        const rhs = floats(dtype, [n, k], randomNumbers(n * k, seed + 1));
        const y = runOne('dot_general', [lhs, rhs], { lhs_contract: [1], rhs_contract: [1], promote });
        const expected = matrix(lhs).flatMap((a) => matrix(rhs).map((b) => orderedDot(a, b, promote)));
        expect(bitsOf(y)).toBe(bitsOf(stored('f32', [m, n], expected)));
      }),
      { numRuns: 150 },
    );
  });

  test('the data tells orders apart: descending k and other partial sums give other bits', () => {
    const a = randomNumbers(1000, 5).map(f);
    const b = randomNumbers(1000, 6).map(f);
    const y = numbersOf(
      runOne('dot_general', [stored('f32', [1, 1000], a), stored('f32', [1, 1000], b)], {
        lhs_contract: [1],
        rhs_contract: [1],
      }),
    )[0];
    expect(y).toBe(orderedDot(a, b, 128));
    expect(y).not.toBe(orderedDot(a.toReversed(), b.toReversed(), 128));
    expect(y).not.toBe(orderedDot(a, b, 1000));
    expect(y).not.toBe(orderedDot(a, b, 64));
  });

  test('an f32 product is rounded before it is added', () => {
    const x = f(1 + 2 ** -12);
    const y = runOne('dot_general', [stored('f32', [1, 2], [x, -1]), stored('f32', [1, 2], [x, f(x * x)])], {
      lhs_contract: [1],
      rhs_contract: [1],
    });
    expect(numbersOf(y)).toEqual([0]);
  });

  test('bf16 magnitudes below 2^-56 count as +0; other dtypes keep them', () => {
    const dot = (dtype: 'bf16' | 'f32', value: number) =>
      numbersOf(
        runOne('dot_general', [floats(dtype, [1, 1], [value]), floats(dtype, [1, 1], [2 ** 60])], {
          lhs_contract: [1],
          rhs_contract: [1],
        }),
      )[0];
    expect(dot('bf16', 2 ** -56)).toBe(16);
    expect(dot('bf16', -(2 ** -56))).toBe(-16);
    expect(dot('bf16', (2 - 2 ** -7) * 2 ** -57)).toBe(0);
    expect(dot('f32', (2 - 2 ** -7) * 2 ** -57)).toBe((2 - 2 ** -7) * 8);
  });
});

describe('scaled_dot', () => {
  const cases = fc.record({
    m: fc.integer({ min: 0, max: 4 }),
    n: fc.integer({ min: 0, max: 9 }),
    k: fc.integer({ min: 0, max: 200 }),
    leftBlock: fc.constantFrom([1, 32], [1, 64], [2, 32], [0, 0], [1, 0]),
    rightBlock: fc.constantFrom([1, 32], [4, 64], [3, 32], [0, 0], [1, 0]),
    promote: fc.constantFrom(32, 64, 128),
    seed: fc.integer(),
  });
  const counts = (shape: readonly number[], block: readonly number[]) =>
    shape.map((dim, i) => (block[i] === 0 ? 1 : Math.ceil(dim / block[i]!)));
  const size = (shape: readonly number[]) => shape[0]! * shape[1]!;

  test('multiplies each partial sum by the rounded product of its scales', () => {
    fc.assert(
      fc.property(cases, ({ m, n, k, leftBlock, rightBlock, promote, seed }) => {
        const segment = Math.min(promote, ...[leftBlock[1]!, rightBlock[1]!].filter((length) => length > 0));
        const lhs = floats('f8e4m3fn', [m, k], randomNumbers(m * k, seed));
        const rhs = floats('f8e5m2', [n, k], randomNumbers(n * k, seed + 1));
        const scaleOf = (shape: readonly number[], s: number) =>
          stored(
            'f32',
            shape,
            randomNumbers(size(shape), s).map((value) => f(2 + value)),
          );
        const left = scaleOf(counts([m, k], leftBlock), seed + 2);
        const right = scaleOf(counts([n, k], rightBlock), seed + 3);
        const attributes = {
          lhs_contract: [1],
          rhs_contract: [1],
          lhs_block: leftBlock,
          rhs_block: rightBlock,
          promote,
        };
        const y = runOne('scaled_dot', [lhs, rhs, left, right], attributes);
        const at = (scale: HostTensor, block: readonly number[], row: number, s: number) =>
          matrix(scale)[block[0] === 0 ? 0 : Math.floor(row / block[0]!)]![
            block[1] === 0 ? 0 : Math.floor((s * segment) / block[1]!)
          ]!;
        const expected = matrix(lhs).flatMap((a, i) =>
          matrix(rhs).map((b, j) =>
            orderedDot(a, b, segment, (s) => f(at(left, leftBlock, i, s) * at(right, rightBlock, j, s))),
          ),
        );
        expect(bitsOf(y)).toBe(bitsOf(stored('f32', [m, n], expected)));
      }),
      { numRuns: 100 },
    );
  });

  test('equals dot_general of dequantized operands when scales are powers of two and segments coincide', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 300 }), fc.integer(), (m, k, seed) => {
        const blocks = Math.ceil(k / 128);
        const powers = (count: number, s: number) => randomNumbers(count, s).map((value) => 2 ** Math.round(value * 8));
        const lhs = floats('f8e4m3fn', [m, k], randomNumbers(m * k, seed));
        const rhs = floats('f8e4m3fn', [5, k], randomNumbers(5 * k, seed + 1));
        const left = floats('f8e8m0fnu', [m, blocks], powers(m * blocks, seed + 2));
        const right = floats('f32', [1, blocks], powers(blocks, seed + 3));
        const contract = { lhs_contract: [1], rhs_contract: [1] };
        const scaled = runOne('scaled_dot', [lhs, rhs, left, right], {
          ...contract,
          lhs_block: [1, 128],
          rhs_block: [128, 128],
        });
        const restore = (q: HostTensor, scale: HostTensor, block: number[]) =>
          runOne('dequantize', [q, scale], { to: 'f32', block });
        const plain = runOne('dot_general', [restore(lhs, left, [1, 128]), restore(rhs, right, [128, 128])], contract);
        expect(bitsOf(scaled)).toBe(bitsOf(plain));
      }),
      { numRuns: 60 },
    );
  });

  test('without scales it is dot_general', () => {
    const lhs = floats('bf16', [3, 200], randomNumbers(600, 1));
    const rhs = floats('bf16', [6, 200], randomNumbers(1200, 2));
    const contract = { lhs_contract: [1], rhs_contract: [1] };
    expect(bitsOf(runOne('scaled_dot', [lhs, rhs], contract))).toBe(
      bitsOf(runOne('dot_general', [lhs, rhs], contract)),
    );
  });

  test('contracts any axis of operands of any rank', () => {
    const x = floats('f8e4m3fn', [2, 3, 64], randomNumbers(384, 1));
    const w = floats('f8e4m3fn', [64, 5], randomNumbers(320, 2));
    const scale = stored(
      'f32',
      [2, 3, 2],
      randomNumbers(12, 3).map((value) => f(value + 2)),
    );
    const y = runOne('scaled_dot', [x, w, scale], { lhs_contract: [2], rhs_contract: [0], lhs_block: [1, 1, 32] });
    const columns = matrix(runOne('transpose', [w], { permutation: [1, 0] }));
    const flat = matrix({ ...x, type: { ...x.type, shape: [6, 64] } });
    const expected = flat.flatMap((a, i) => columns.map((b) => orderedDot(a, b, 32, (s) => scale.data[2 * i + s]!)));
    expect(bitsOf(y)).toBe(bitsOf(stored('f32', [2, 3, 5], expected)));
  });
});

describe('row reductions and what is built from them', () => {
  const x = randomNumbers(3 * 77, 11).map((value) => f(value * 6));
  const rows = [x.slice(0, 77), x.slice(77, 154), x.slice(154)];
  const input = stored('f32', [3, 77], x);

  test('reduce sum, along the last axis and across rows', () => {
    expect(numbersOf(runOne('reduce', [input], { kind: 'sum', axes: [1] }))).toEqual(rows.map(orderedSum));
    const columns = Array.from({ length: 77 }, (_, i) => orderedSum(rows.map((row) => row[i]!)));
    expect(numbersOf(runOne('reduce', [input], { kind: 'sum', axes: [0] }))).toEqual(columns);
    expect(rows.map(orderedSum)).not.toEqual(rows.map((row) => row.reduce((sum, value) => f(sum + value), 0)));
  });

  const shifted = rows.map((row) => row.map((value) => f(value - Math.max(...row))));
  const sums = shifted.map((row) => orderedSum(row.map(exp32)));

  test('softmax', () => {
    const expected = shifted.flatMap((row, i) => row.map((value) => f(exp32(value) / sums[i]!)));
    expect(bitsOf(runOne('softmax', [input], { axis: 1 }))).toBe(bitsOf(stored('f32', [3, 77], expected)));
  });

  test('log_softmax, and its gather', () => {
    const expected = shifted.map((row, i) => row.map((value) => f(value - log32(sums[i]!))));
    expect(bitsOf(runOne('log_softmax', [input], { axis: 1 }))).toBe(bitsOf(stored('f32', [3, 77], expected.flat())));
    const picked = runOne('log_softmax_gather', [input, stored('i32', [3], [5, 0, 76])]);
    expect(numbersOf(picked)).toEqual([expected[0]![5], expected[1]![0], expected[2]![76]]);
  });

  test('rms_norm', () => {
    const weight = randomNumbers(77, 12).map(f);
    const expected = rows.flatMap((row) => {
      const mean = f(orderedSum(row.map((value) => f(value * value))) / 77);
      const r = f(1 / f(Math.sqrt(f(mean + f(1e-6)))));
      return row.map((value, i) => f(f(value * r) * weight[i]!));
    });
    const y = runOne('rms_norm', [input, stored('f32', [77], weight)], { eps: 1e-6 });
    expect(bitsOf(y)).toBe(bitsOf(stored('f32', [3, 77], expected)));
  });

  test('silu and swiglu', () => {
    const silu = x.map((value) => f(value / f(1 + exp32(-value))));
    expect(bitsOf(runOne('silu', [input]))).toBe(bitsOf(stored('f32', [3, 77], silu)));
    const up = x.toReversed();
    const swiglu = silu.map((value, i) => f(value * up[i]!));
    expect(bitsOf(runOne('swiglu', [input, stored('f32', [3, 77], up)]))).toBe(bitsOf(stored('f32', [3, 77], swiglu)));
  });

  test('exp and log are those of numerics', () => {
    expect(numbersOf(runOne('exp', [input]))).toEqual(x.map(exp32));
    const positive = x.map((value) => Math.abs(value));
    expect(numbersOf(runOne('log', [stored('f32', [3, 77], positive)]))).toEqual(positive.map(log32));
  });
});

test('rope rotates with unfused f32 products', () => {
  const [tokens, depth] = [3, 6];
  const x = randomNumbers(2 * tokens * depth, 3).map(f);
  const cos = randomNumbers(20, 4).map(f);
  const sin = randomNumbers(20, 5).map(f);
  const table = (values: number[]) => stored('f32', [10, 2], values);
  const y = runOne('rope', [
    stored('f32', [2, tokens, 1, depth], x),
    table(cos),
    table(sin),
    stored('i32', [2], [0, 7]),
  ]);
  const expected = x.slice();
  for (let b = 0; b < 2; b++) {
    for (let t = 0; t < tokens; t++) {
      for (let i = 0; i < 2; i++) {
        const at = (b * tokens + t) * depth + i;
        const row = 2 * ([0, 7][b]! + t) + i;
        expected[at] = f(f(x[at]! * cos[row]!) - f(x[at + 2]! * sin[row]!));
        expected[at + 2] = f(f(x[at + 2]! * cos[row]!) + f(x[at]! * sin[row]!));
      }
    }
  }
  expect(bitsOf(y)).toBe(bitsOf(stored('f32', [2, tokens, 1, depth], expected)));
});
