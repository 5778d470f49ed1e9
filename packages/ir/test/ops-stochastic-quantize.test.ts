import { type HostTensor, viewHostArray } from '@quaver/ir';
import { f8e4m3fn, f8e5m2, floatFormats } from '@quaver/numerics';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { runOp } from './op-runner.ts';

const one: HostTensor = { type: { dtype: 'f32', shape: [1] }, data: Float32Array.of(1) };
const seedOf = (seed: number): HostTensor => ({ type: { dtype: 'i32', shape: [1] }, data: Int32Array.of(seed) });

interface Options {
  readonly to?: 'f8e4m3fn' | 'f8e5m2';
  readonly seed?: number;
  readonly stream?: number;
  readonly saturate?: boolean;
}

/** Codes of the values under one scale. */
function codesOf(values: Float32Array, { to = 'f8e4m3fn', seed = 1, stream = 0, saturate = true }: Options = {}) {
  const x: HostTensor = { type: { dtype: 'f32', shape: [values.length] }, data: values };
  const [q] = runOp('stochastic_quantize', [x, one, seedOf(seed)], { to, block: [0], saturate, stream });
  return q!.data as Uint8Array;
}

const decode = (codes: Uint8Array, to: 'f8e4m3fn' | 'f8e5m2' = 'f8e4m3fn') =>
  Array.from(codes, (code) => floatFormats[to].decode(code));

describe('stochastic_quantize', () => {
  test('gives one of the two neighbours, and numbers of the format as they are', () => {
    const number = fc.float({ min: Math.fround(-448), max: 448, noNaN: true });
    fc.assert(
      fc.property(fc.array(number, { minLength: 1, maxLength: 20 }), fc.integer(), (values, seed) => {
        const x = Float32Array.from(values);
        const grid = decode(Uint8Array.from({ length: 127 }, (_, code) => code));
        for (const [i, y] of decode(codesOf(x, { seed })).entries()) {
          const size = Math.abs(x[i]!);
          const low = grid.findLast((value) => value <= size)!;
          const high = grid.find((value) => value >= size)!;
          expect([low, high]).toContain(Math.abs(y));
          expect(Math.sign(y) === Math.sign(x[i]!) || y === 0).toBe(true);
        }
      }),
    );
  });

  test('every code of both formats is cast to itself, whatever the seed', () => {
    for (const to of ['f8e4m3fn', 'f8e5m2'] as const) {
      const finite = Uint8Array.from({ length: 256 }, (_, code) => code).filter((code) =>
        Number.isFinite(floatFormats[to].decode(code)),
      );
      for (const seed of [0, 1, -7])
        expect(codesOf(Float32Array.from(decode(finite, to)), { to, seed })).toEqual(finite);
    }
  });

  test.each([
    // [x, near, far, probability of far], from the formats' tables.
    [1.03125, 1, 1.125, 0.25],
    [-17.5, -16, -18, 0.75],
    [2 ** -10, 0, 2 ** -9, 0.5],
    [-(2 ** -12), -0, -(2 ** -9), 0.125],
    [440, 416, 448, 0.75],
  ])('%f becomes %f or %f, the latter with probability %f', (x, near, far, probability) => {
    const count = 40_000;
    const found = decode(codesOf(new Float32Array(count).fill(x), { seed: 5 }));
    const share = found.filter((y) => y === far).length / count;
    expect(found.every((y) => y === far || y === near)).toBe(true);
    // Five standard deviations of a binomial share: the seed is fixed, so this fails always or never.
    expect(Math.abs(share - probability)).toBeLessThan(5 * Math.sqrt((probability * (1 - probability)) / count));
  });

  test('is right on average, where rounding to nearest is not', () => {
    const count = 50_000;
    const values = Float32Array.from({ length: count }, (_, i) => 1 + (0.5 * i) / count / 8);
    const mean = (codes: Uint8Array) => decode(codes).reduce((sum, y, i) => sum + y - values[i]!, 0) / count;
    const x: HostTensor = { type: { dtype: 'f32', shape: [count] }, data: values };
    const [nearest] = runOp('quantize', [x, one], { to: 'f8e4m3fn', block: [0] });
    // The spacing of 1/8 bounds the deviation of one element by 1/16.
    expect(Math.abs(mean(codesOf(values)))).toBeLessThan((5 * (1 / 16)) / Math.sqrt(count));
    expect(Math.abs(mean(nearest!.data as Uint8Array))).toBeGreaterThan(0.03);
  });

  test('the same seed and stream give the same codes, others give others', () => {
    const values = new Float32Array(1000).fill(1.0625);
    const codes = codesOf(values, { seed: 3, stream: 9 });
    expect(codesOf(values, { seed: 3, stream: 9 })).toEqual(codes);
    for (const other of [
      { seed: 4, stream: 9 },
      { seed: 3, stream: 10 },
    ]) {
      const differing = codesOf(values, other).filter((code, i) => code !== codes[i]).length;
      expect(differing).toBeGreaterThan(400);
      expect(differing).toBeLessThan(600);
    }
    // A prefix draws what it draws alone.
    expect(codesOf(values.slice(0, 333), { seed: 3, stream: 9 })).toEqual(codes.slice(0, 333));
  });

  test('beyond the largest number, Inf and NaN are cast as quantize casts them', () => {
    const values = Float32Array.of(448, 449, -1e9, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN);
    for (const to of ['f8e4m3fn', 'f8e5m2'] as const) {
      for (const saturate of [true, false]) {
        const data = to === 'f8e5m2' ? values.map((x) => x * 128) : values;
        const x: HostTensor = { type: { dtype: 'f32', shape: [6] }, data };
        const [expected] = runOp('quantize', [x, one], { to, block: [0], saturate });
        expect(codesOf(data, { to, saturate })).toEqual(expected!.data);
      }
    }
    expect([f8e4m3fn.decode(0x7e), f8e5m2.decode(0x7b)]).toEqual([448, 57344]);
  });

  test('divides by the scale of its block', () => {
    const x: HostTensor = {
      type: { dtype: 'bf16', shape: [1, 3] },
      data: viewHostArray('bf16', new Uint8Array([0x80, 0x3f, 0x80, 0x40, 0x80, 0xc1])),
    };
    const scale: HostTensor = { type: { dtype: 'f32', shape: [1, 2] }, data: Float32Array.of(0.5, 2) };
    const [q] = runOp('stochastic_quantize', [x, scale, seedOf(1)], { to: 'f8e4m3fn', block: [1, 2] });
    expect(decode(q!.data as Uint8Array)).toEqual([2, 8, -8]);
  });
});
