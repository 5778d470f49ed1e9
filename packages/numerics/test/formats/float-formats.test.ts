import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bitsToF32, type FloatFormat, f8e4m3fn, f8e5m2, f8e8m0fnu, f32ToBits, floatFormats } from '../../src/index.ts';
import { asFloats, goldenColumns } from '../golden-columns.ts';

const formats = Object.values(floatFormats);

function codeArray(format: FloatFormat, length: number): Uint8Array | Uint16Array {
  return format.bits === 8 ? new Uint8Array(length) : new Uint16Array(length);
}

/** Indices where two arrays differ, as readable triples; empty is what a test wants. */
function differences(inputs: ArrayLike<number>, found: ArrayLike<number>, expected: ArrayLike<number>): string[] {
  const list: string[] = [];
  for (let i = 0; i < inputs.length && list.length < 10; i++)
    if (found[i] !== expected[i]) list.push(`${inputs[i]}: found ${found[i]}, expected ${expected[i]}`);
  return list;
}

describe.each(formats)('$name against ml_dtypes and numpy', (format) => {
  const [decoded, inputBits, codes, saturated] = goldenColumns(format.name, 4);
  const inputs = asFloats(inputBits!);

  test('decodes every code', () => {
    expect(decoded!.length).toBe(2 ** format.bits);
    const all = codeArray(format, decoded!.length).map((_, code) => code);
    const bulk = new Float32Array(all.length);
    format.decodeInto(all, bulk);
    const expected = asFloats(decoded!);
    for (const [code, value] of expected.entries())
      if (!Object.is(format.decode(code), value) || !Object.is(bulk[code], value))
        expect.fail(`code ${code}: found ${format.decode(code)} and ${bulk[code]}, expected ${value}`);
  });

  test.each([
    { saturate: false, expected: codes! },
    { saturate: true, expected: saturated! },
  ])('encodes values, midpoints, neighbours and edges, saturate = $saturate', ({ saturate, expected }) => {
    expect(inputs.length).toBeGreaterThan(6 * 2 ** (format.bits - 1));
    const bulk = codeArray(format, inputs.length);
    format.encodeInto(inputs, bulk, saturate);
    expect(differences(inputs, bulk, expected)).toEqual([]);
    const one = Array.from(inputs, (value) => format.encode(value, saturate));
    expect(differences(inputs, one, expected)).toEqual([]);
  });

  test('saturates by default in 8 bits and overflows by default in 16', () => {
    const expected = format.bits === 8 ? saturated! : codes!;
    const bulk = codeArray(format, inputs.length);
    format.encodeInto(inputs, bulk);
    expect(differences(inputs, bulk, expected)).toEqual([]);
    const one = Array.from(inputs, (value) => format.encode(value));
    expect(differences(inputs, one, expected)).toEqual([]);
  });

  test('states its limits', () => {
    const values = Array.from(asFloats(decoded!));
    const positive = values.filter((value) => value > 0 && value < Number.POSITIVE_INFINITY);
    expect(format.maxFinite).toBe(positive.reduce((most, value) => Math.max(most, value)));
    expect(format.minSubnormal).toBe(positive.reduce((least, value) => Math.min(least, value)));
    expect(format.minNormal).toBe(format.name === 'f8e8m0fnu' ? 2 ** -127 : 2 ** (1 - format.bias));
    expect(format.hasInfinity).toBe(values.includes(Number.POSITIVE_INFINITY));
    const isFiniteCode = (value: number) => Number.isFinite(format.decode(format.encode(value, false)));
    expect(isFiniteCode(format.maxRoundable)).toBe(true);
    expect(isFiniteCode(bitsToF32(f32ToBits(format.maxRoundable) + 1))).toBe(false);
  });

  test('every finite code survives decode and encode', () => {
    for (let code = 0; code < 2 ** format.bits; code++)
      if (!Number.isNaN(format.decode(code)) && format.encode(format.decode(code), false) !== code)
        expect.fail(`code ${code} became ${format.encode(format.decode(code), false)}`);
  });

  test('rounding never reorders and goes to the nearer neighbour', () => {
    const magnitude = fc.float({ noNaN: true, min: Math.max(format.minSubnormal, 2 ** -126), max: format.maxFinite });
    fc.assert(
      fc.property(magnitude, magnitude, (a, b) => {
        const [low, high] = a <= b ? [a, b] : [b, a];
        const code = format.encode(low);
        expect(code).toBeLessThanOrEqual(format.encode(high));
        const value = format.decode(code);
        if (value < low) expect(low - value).toBeLessThanOrEqual(format.decode(code + 1) - low);
        if (value > low) expect(value - low).toBeLessThanOrEqual(low - format.decode(code - 1));
      }),
    );
  });
});

describe('documented edges', () => {
  test('E4M3FN: 464 is the last value that rounds to 448', () => {
    expect(f8e4m3fn.encode(464, false)).toBe(0x7e);
    expect(f8e4m3fn.encode(465, false)).toBe(0x7f);
    expect(f8e4m3fn.encode(-465, false)).toBe(0xff);
    expect(f8e4m3fn.encode(465)).toBe(0x7e);
    expect(f8e4m3fn.encode(Number.NEGATIVE_INFINITY)).toBe(0xfe);
    expect(f8e4m3fn.encode(Number.NaN)).toBe(0x7f);
    expect(f8e4m3fn.encode(-0)).toBe(0x80);
  });

  test('E5M2: 61440 is the first value that overflows', () => {
    expect(f8e5m2.encode(61439, false)).toBe(0x7b);
    expect(f8e5m2.encode(61440, false)).toBe(0x7c);
    expect(f8e5m2.encode(-61440, false)).toBe(0xfc);
    expect(f8e5m2.encode(61440)).toBe(0x7b);
  });

  test('E8M0 has no zero and no negative numbers', () => {
    expect([0, -0, -1, Number.NEGATIVE_INFINITY].map((value) => f8e8m0fnu.encode(value))).toEqual([255, 255, 255, 255]);
    expect(f8e8m0fnu.encode(Number.POSITIVE_INFINITY)).toBe(254);
    expect(f8e8m0fnu.encode(3)).toBe(129);
    // Below 2^-126 ml_dtypes and PyTorch round up instead of to nearest.
    expect(f8e8m0fnu.encode(2 ** -127)).toBe(0);
    expect(f8e8m0fnu.encode(2 ** -127 + 2 ** -149)).toBe(1);
  });

  test('the cast is from f32: a f64 above the midpoint that rounds to it in f32 is a tie', () => {
    expect(f8e4m3fn.encode(464 + 1e-9, false)).toBe(0x7e);
    expect(f8e4m3fn.encode(1.0625 + 1e-12)).toBe(f8e4m3fn.encode(1.0625));
  });

  test('bulk casts work on views with an offset', () => {
    const source = new Float32Array([9, 1, 2, 3, 9]).subarray(1, 4);
    const target = new Uint8Array(5);
    f8e4m3fn.encodeInto(source, target.subarray(1));
    expect(Array.from(target)).toEqual([0, 0x38, 0x40, 0x44, 0]);
  });
});

test('bulk casts refuse short targets and the wrong code width', () => {
  const short = expect.objectContaining({ code: 'cast-target-too-short' });
  const width = expect.objectContaining({ code: 'cast-width-mismatch' });
  for (const format of formats) {
    const wrong = format.bits === 8 ? new Uint16Array(2) : new Uint8Array(2);
    expect(() => format.encodeInto(new Float32Array(2), wrong)).toThrow(width);
    expect(() => format.decodeInto(wrong, new Float32Array(2))).toThrow(width);
    expect(() => format.encodeInto(new Float32Array(2), codeArray(format, 1))).toThrow(short);
    expect(() => format.decodeInto(codeArray(format, 2), new Float32Array(1))).toThrow(short);
  }
});
