import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bitsToF32, f8e4m3fn, f32ToBits, QuantizationStats, snr, ulpDistance } from '../src/index.ts';

describe('QuantizationStats', () => {
  test('counts by hand', () => {
    const stats = new QuantizationStats();
    const original = new Float32Array([3, -4, 0, 2 ** -20, 500, Number.NaN, Number.POSITIVE_INFINITY, 100]);
    const restored = new Float32Array([3, -3, 0, 0, 448, Number.NaN, 448, Number.NaN]);
    stats.add(original, restored, 464);
    const signal = 9 + 16 + 2 ** -40 + 250000;
    const noise = 1 + 2 ** -40 + 52 * 52;
    expect(stats.toJSON()).toEqual({
      count: 8,
      amax: 500,
      snr_db: 10 * Math.log10(signal / noise),
      saturated: 2,
      saturated_percent: 25,
      underflow: 1,
      underflow_percent: 12.5,
      non_finite: 2,
    });
  });

  test('a value that the format rounds down to its maximum is not saturated', () => {
    const original = new Float32Array([448, 464, 464.5, -464, -465]);
    const codes = new Uint8Array(5);
    f8e4m3fn.encodeInto(original, codes);
    const stats = new QuantizationStats();
    stats.addCodes(original, codes, f8e4m3fn, 1);
    expect(stats.saturated).toBe(2);
  });

  test('blocks add up to the whole, by codes, by restored values and merged', () => {
    const scale = 2 ** -5;
    const original = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i) * 2 ** (i % 17) * 0.001);
    const scaled = original.map((x) => x / scale);
    const codes = new Uint8Array(1000);
    f8e4m3fn.encodeInto(scaled, codes);
    const restored = Float32Array.from(codes, (code) => f8e4m3fn.decode(code) * scale);
    const limit = f8e4m3fn.maxRoundable * scale;

    const whole = new QuantizationStats();
    whole.add(original, restored, limit);
    expect(whole.saturated).toBeGreaterThan(0);
    expect(whole.underflow).toBeGreaterThan(0);

    const blocks = new QuantizationStats();
    const rest = new QuantizationStats();
    for (let start = 0; start < 512; start += 128) blocks.add(original, restored, limit, start, start + 128);
    rest.addCodes(original.subarray(512), codes.subarray(512), f8e4m3fn, scale);
    blocks.merge(rest);
    const { snr_db: wholeSnr, ...wholeCounts } = whole.toJSON();
    const { snr_db: blocksSnr, ...blockCounts } = blocks.toJSON();
    expect(blockCounts).toEqual(wholeCounts);
    expect(blocksSnr).toBeCloseTo(wholeSnr, 10);
  });

  test('nothing seen: no percentages of nothing', () => {
    const empty = new QuantizationStats();
    expect(empty.saturated_percent).toBe(0);
    expect(empty.underflow_percent).toBe(0);
    expect(empty.snr_db).toBe(Number.POSITIVE_INFINITY);
  });

  test('arrays of different length are refused', () => {
    const mismatch = expect.objectContaining({ code: 'stats-length-mismatch' });
    expect(() => new QuantizationStats().add(new Float32Array(2), new Float32Array(3))).toThrow(mismatch);
    const addShortCodes = () => new QuantizationStats().addCodes(new Float32Array(2), new Uint8Array(1), f8e4m3fn, 1);
    expect(addShortCodes).toThrow(mismatch);
  });
});

test('snr: 20 dB for an error of a tenth, Infinity for none, −Infinity for noise alone', () => {
  expect(snr(new Float32Array([10, -10]), new Float32Array([9, -11]))).toBeCloseTo(20, 12);
  expect(snr(new Float32Array([1, 0]), new Float32Array([1, -0]))).toBe(Number.POSITIVE_INFINITY);
  expect(snr(new Float32Array([0]), new Float32Array([1]))).toBe(Number.NEGATIVE_INFINITY);
});

describe('ulpDistance', () => {
  test('known distances', () => {
    expect(ulpDistance(1, 1 + 2 ** -23)).toBe(1);
    expect(ulpDistance(1, 1 - 2 ** -24)).toBe(1);
    expect(ulpDistance(1, 2)).toBe(2 ** 23);
    expect(ulpDistance(0, -0)).toBe(0);
    expect(ulpDistance(2 ** -149, -(2 ** -149))).toBe(2);
    expect(ulpDistance(3.4028234663852886e38, Number.POSITIVE_INFINITY)).toBe(1);
    expect(ulpDistance(Number.NaN, Number.NaN)).toBe(0);
    expect(ulpDistance(Number.NaN, 1)).toBe(Number.POSITIVE_INFINITY);
    expect(ulpDistance(1, Number.NaN)).toBe(Number.POSITIVE_INFINITY);
  });

  test('counts steps in bits, symmetrically', () => {
    const positive = fc.float({ min: 0, max: 2 ** 100, noNaN: true });
    fc.assert(
      fc.property(positive, fc.integer({ min: 0, max: 1000 }), (x, steps) => {
        const other = bitsToF32(f32ToBits(Math.abs(x)) + steps);
        expect(ulpDistance(Math.abs(x), other)).toBe(steps);
        expect(ulpDistance(-other, -Math.abs(x))).toBe(steps);
      }),
    );
  });
});
