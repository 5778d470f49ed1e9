import { bf16, computeScale, f8e4m3fn, f8e5m2, f8e8m0fnu } from '@quaver/numerics';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Fp8Format } from '../src/engine/engine.ts';
import { engineKinds } from './engines.ts';
import { Arena, expectSameBits, once, Random } from './kernels-arena.ts';

const f = Math.fround;
const formats = { f8e4m3fn, f8e5m2 };
const fp8 = ['f8e4m3fn', 'f8e5m2'] as const;

/** All codes, the midpoints between neighbours and their neighbours, plus f32 numbers of every exponent; whole rows of 1024. */
function castProbes(format: { decode(code: number): number }, codes: number): Float32Array {
  const bits: number[] = [];
  const word = new DataView(new ArrayBuffer(4));
  const add = (value: number) => {
    word.setFloat32(0, value);
    for (let step = -1; step <= 1; step++) bits.push((word.getUint32(0) + step) >>> 0);
  };
  for (let code = 0; code + 1 < codes; code++) {
    const value = format.decode(code);
    add(value);
    add(value + (format.decode(code + 1) - value) / 2);
  }
  for (let i = 0; i < 1 << 18 || bits.length % 1024 !== 0; i++) bits.push(Math.imul(i, 16411) >>> 0);
  return new Float32Array(Uint32Array.from(bits).buffer);
}

const fp8Probes = once((name: Fp8Format) => {
  const x = castProbes(formats[name], 256);
  const codes = { saturated: new Uint8Array(x.length), open: new Uint8Array(x.length) };
  formats[name].encodeInto(x, codes.saturated, true);
  formats[name].encodeInto(x, codes.open, false);
  const all = Uint8Array.from({ length: 256 }, (_, code) => code);
  return { x, codes, all, values: Float32Array.from(all, formats[name].decode) };
});

const bf16Probes = once((_: 'bf16') => {
  const x = castProbes({ decode: bf16.decode }, 2 ** 16);
  const codes = new Uint16Array(x.length);
  bf16.encodeInto(x, codes);
  const all = Uint16Array.from({ length: 2 ** 16 }, (_, code) => code);
  return { x, codes, all, values: Float32Array.from(all, bf16.decode) };
});

const values = {
  realistic: (random: Random) => random.normal() * 4,
  'one binade at a time': (random: Random) => (1 + random.unit()) * 2 ** random.integer(-149, 126),
  'with NaN and infinities': (random: Random) =>
    random.unit() < 0.03 ? random.pick([NaN, Infinity, -Infinity]) : random.normal(),
  zeros: () => 0,
  'at the limits of a power-of-two scale': (random: Random) =>
    random.pick([1, 1.75, 1.7499998807907104, 1.7500001192092896]) * 2 ** random.integer(-3, 3),
  subnormal: (random: Random) => random.normal() * 2 ** -135,
};
type Values = keyof typeof values;

/** Amax, scale and codes of blocks of rows, by numerics. */
function quantized(name: Fp8Format, x: Float32Array, [m, k, block]: readonly number[], rounding: 'none' | 'pow2_up') {
  const format = formats[name];
  const blocks = Math.ceil(k! / block!);
  const codes = new Uint8Array(m! * k!);
  const scales = new Float32Array(m! * blocks);
  for (let row = 0; row < m!; row++)
    for (let j = 0; j < blocks; j++) {
      const [from, to] = [row * k! + j * block!, row * k! + Math.min(k!, (j + 1) * block!)];
      const amax = x.subarray(from, to).reduce((largest, v) => Math.max(largest, Math.abs(v)), 0);
      const scale = computeScale(amax, { max: format.maxFinite, rounding });
      scales[row * blocks + j] = scale;
      for (let i = from; i < to; i++) codes[i] = format.encode(f(x[i]! / scale));
    }
  return { codes, scales };
}

const rowCases = once((key: `${Fp8Format} ${Values}`) => {
  const name = fp8.find((format) => key.startsWith(format))!;
  const value = values[key.slice(name.length + 1) as Values];
  const random = new Random(4);
  return Array.from({ length: 20 }, () => {
    const [m, k] = [random.integer(1, 5), random.integer(1, 400)];
    const block = random.pick([128, 32, 7, k, 1 << 30]);
    const rounding = random.pick(['none', 'pow2_up'] as const);
    const binade = 2 ** random.integer(-20, 20);
    const x = random.f32s(m * k, () => value(random) * binade);
    const rows = quantized(name, x, [m, k, block], rounding);
    return { m, k, block, rounding, x, rows, kv: quantized(name, x, [m, k, k], 'pow2_up') };
  });
});

/** Scales that are given, for blocks of rows and columns. */
const byCases = once((name: Fp8Format) => {
  const random = new Random(14);
  return Array.from({ length: 24 }, () => {
    const [rows, k] = [random.integer(1, 40), random.integer(1, 300)];
    const blockRows = random.pick([1, 1, 3, 128, rows]);
    const blockColumns = random.pick([1, 5, 32, 128, k, 2 ** 31]);
    const columns = Math.ceil(k / blockColumns);
    const scaleStride = random.pick([0, columns, columns + 3]);
    const x = random.f32s(rows * k, () => random.normal() * 2 ** random.integer(-10, 10));
    const powers = random.unit() < 0.5;
    const binade = random.pick([0, 0, -120, 100, -149]);
    const scaleCount = (Math.ceil(rows / blockRows) - 1) * scaleStride + columns;
    const scales = random.f32s(
      scaleCount,
      () => (powers ? 1 : 1 + random.unit()) * 2 ** (binade + random.integer(0, 5)),
    );
    const scaleOf = (i: number) =>
      scales[Math.floor(Math.floor(i / k) / blockRows) * scaleStride + Math.floor((i % k) / blockColumns)]!;
    const saturate = random.unit() < 0.5;
    const codes = Uint8Array.from(x, (v, i) => formats[name].encode(f(v / scaleOf(i)), saturate));
    const values = Float32Array.from(codes, (code, i) => f(formats[name].decode(code) * scaleOf(i)));
    return { by: { rows, k, scaleStride, blockRows, blockColumns }, x, scales, saturate, codes, values };
  });
});

describe.each(engineKinds)('$name', (kind) => {
  let arena: Arena;
  beforeAll(async () => {
    arena = await Arena.open(kind);
  });
  afterAll(() => arena.close());
  beforeEach(() => arena.reset());

  describe('encode and decode', () => {
    it.each(fp8)('%s as numerics does, around every code and over all exponents', async (name) => {
      const { x, codes, all, values } = fp8Probes(name);
      const at = arena.put(x);
      for (const [saturate, expected] of [
        [true, codes.saturated],
        [false, codes.open],
      ] as const) {
        const out = arena.bytes(x.length);
        await arena.kernels.encode(name, at, out, x.length, saturate);
        expect(Buffer.compare(arena.u8(out, x.length), expected), `saturate ${saturate}`).toBe(0);
      }
      for (const [from, count] of [
        [0, 256],
        [1, 255],
        [3, 5],
      ] as const) {
        const out = arena.bytes(4 * count);
        await arena.kernels.decode(name, arena.put(all.subarray(from, from + count)), out, count);
        expectSameBits(arena.f32(out, count), values.subarray(from, from + count), name);
      }
      arena.expectCanariesIntact();
    });

    it('bf16 as numerics does', async () => {
      const { x, codes, all, values } = bf16Probes('bf16');
      for (const count of [x.length, 1, 17, 35]) {
        const out = arena.bytes(2 * count);
        await arena.kernels.encode('bf16', arena.put(x.subarray(0, count)), out, count);
        const expected = new Uint8Array(codes.buffer, 0, 2 * count);
        expect(Buffer.compare(arena.u8(out, 2 * count), expected), `${count} elements`).toBe(0);
      }
      for (const from of [0, 1, 65519]) {
        const count = all.length - from;
        const out = arena.bytes(4 * count);
        await arena.kernels.decode('bf16', arena.put(all.subarray(from)), out, count);
        expectSameBits(arena.f32(out, count), values.subarray(from), 'bf16');
      }
      arena.expectCanariesIntact();
    });

    it('E8M0 scales, all of them', async () => {
      const codes = Uint8Array.from({ length: 3 * 256 }, (_, i) => i);
      const out = arena.bytes(4 * codes.length);
      await arena.run(['decode_e8m0', [arena.put(codes), out], [codes.length]]);
      expectSameBits(arena.f32(out, codes.length), Float32Array.from(codes, f8e8m0fnu.decode), 'E8M0');
      arena.expectCanariesIntact();
    });
  });

  describe.each(Object.keys(values) as Values[])('quantizeRows of values that are %s', (what) => {
    it.each(fp8)('%s: scales and codes as numerics', async (name) => {
      for (const { m, k, block, rounding, x, rows, kv } of rowCases(`${name} ${what}`)) {
        arena.reset();
        const { scales } = rows;
        const at = arena.put(x);
        const [codesAt, scalesAt] = [arena.bytes(m * k), arena.bytes(4 * scales.length)];
        await arena.kernels.quantizeRows(name, at, codesAt, scalesAt, m, k, block, rounding);
        expectSameBits(arena.f32(scalesAt, scales.length), scales, `scales ${m}×${k} block ${block} ${rounding}`);
        expect(arena.u8(codesAt, m * k), `codes ${m}×${k} block ${block} ${rounding}`).toEqual(rows.codes);

        const [kvCodes, bytes] = [arena.bytes(m * k), arena.bytes(m)];
        await arena.kernels.quantizeE8m0(name, at, kvCodes, bytes, m, k);
        expect([...arena.u8(bytes, m)].map((byte) => 2 ** (byte - 127))).toEqual([...kv.scales]);
        expect(arena.u8(kvCodes, m * k), `KV codes ${m}×${k}`).toEqual(kv.codes);
        arena.expectCanariesIntact();
      }
    });
  });

  it('quantizeE8m0 in blocks of 32: the MX formats', async () => {
    const random = new Random(15);
    for (const [m, k] of [
      [3, 100],
      [5, 32],
      [1, 7],
    ] as const) {
      const x = random.f32s(m * k, () => random.normal());
      const expected = quantized('f8e4m3fn', x, [m, k, 32], 'pow2_up');
      const [codes, scales] = [arena.bytes(m * k), arena.bytes(expected.scales.length)];
      await arena.kernels.quantizeE8m0('f8e4m3fn', arena.put(x), codes, scales, m, k, 32);
      expect(arena.u8(codes, m * k)).toEqual(expected.codes);
      const found = Float32Array.from(arena.u8(scales, expected.scales.length), f8e8m0fnu.decode);
      expectSameBits(found, expected.scales, `scales ${m}×${k}`);
    }
    arena.expectCanariesIntact();
  });

  it.each(fp8)('quantizeBy and dequantizeBy with given scales: %s', async (name) => {
    for (const { by, x, scales, saturate, codes, values } of byCases(name)) {
      arena.reset();
      const what = `${JSON.stringify(by)} saturate ${saturate}`;
      const scalesAt = arena.put(scales);
      const [out, back] = [arena.bytes(codes.length), arena.bytes(4 * codes.length)];
      await arena.kernels.quantizeBy(name, arena.put(x), scalesAt, out, by, saturate);
      expect(arena.u8(out, codes.length), what).toEqual(codes);
      await arena.kernels.dequantizeBy(name, out, scalesAt, back, by);
      expectSameBits(arena.f32(back, codes.length), values, what);
      arena.expectCanariesIntact();
    }
  });
});
