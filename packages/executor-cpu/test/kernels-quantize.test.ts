import { bf16, computeScale, f8e4m3fn, f8e5m2 } from '@quaver/numerics';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Arena, expectSameBits, Random } from './kernels-arena.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await Arena.create();
});
beforeEach(() => arena.reset());

const f = Math.fround;
const formats = { f8e4m3fn, f8e5m2 };
const fp8 = ['f8e4m3fn', 'f8e5m2'] as const;

/** All codes, the midpoints between neighbours and their neighbours, plus f32 numbers of every exponent. */
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
  for (let i = 0; i < 1 << 18; i++) bits.push(Math.imul(i, 16411) >>> 0);
  return new Float32Array(Uint32Array.from(bits).buffer);
}

describe('encode and decode', () => {
  it.each(fp8)('%s as numerics does, around every code and over all exponents', (name) => {
    const x = castProbes(formats[name], 256);
    const codes = arena.bytes(x.length);
    arena.kernels.encode(name, arena.put(x), codes, x.length);
    const expected = new Uint8Array(x.length);
    formats[name].encodeInto(x, expected);
    expect(Buffer.compare(arena.u8(codes, x.length), expected)).toBe(0);
    const out = arena.bytes(4 * 255);
    const all = Uint8Array.from({ length: 255 }, (_, i) => i + 1);
    arena.kernels.decode(name, arena.put(all), out, 255);
    expectSameBits(arena.f32(out, 255), Float32Array.from(all, formats[name].decode), name);
    arena.expectCanariesIntact();
  });

  it('bf16 as numerics does', () => {
    const x = castProbes({ decode: bf16.decode }, 2 ** 16);
    const codes = arena.bytes(2 * x.length);
    arena.kernels.encode('bf16', arena.put(x), codes, x.length);
    const expected = new Uint16Array(x.length);
    bf16.encodeInto(x, expected);
    expect(Buffer.compare(new Uint8Array(arena.u16(codes, x.length).buffer), new Uint8Array(expected.buffer))).toBe(0);
    const all = Uint16Array.from({ length: 65535 }, (_, i) => i);
    const out = arena.bytes(4 * 65535);
    arena.kernels.decode('bf16', arena.put(all), out, 65535);
    expectSameBits(arena.f32(out, 65535), Float32Array.from(all, bf16.decode), 'bf16');
    arena.expectCanariesIntact();
  });
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

describe.each(Object.entries(values))('quantizeRows of values that are %s', (_, value) => {
  it.each(fp8)('%s: scales and codes as numerics', (name) => {
    const random = new Random(4);
    const format = formats[name];
    for (let trial = 0; trial < 20; trial++) {
      arena.reset();
      const [m, k] = [random.integer(1, 5), random.integer(1, 400)];
      const block = random.pick([128, 32, 7, k, 1 << 30]);
      const rounding = random.pick(['none', 'pow2_up'] as const);
      const blocks = Math.ceil(k / block);
      const binade = 2 ** random.integer(-20, 20);
      const x = random.f32s(m * k, () => value(random) * binade);
      const codes = new Uint8Array(m * k);
      const scales = new Float32Array(m * blocks);
      for (let row = 0; row < m; row++)
        for (let j = 0; j < blocks; j++) {
          const [from, to] = [row * k + j * block, row * k + Math.min(k, (j + 1) * block)];
          const amax = x.subarray(from, to).reduce((largest, v) => Math.max(largest, Math.abs(v)), 0);
          const scale = computeScale(amax, { max: format.maxFinite, rounding });
          scales[row * blocks + j] = scale;
          for (let i = from; i < to; i++) codes[i] = format.encode(f(x[i]! / scale));
        }
      const [codesAt, scalesAt] = [arena.bytes(m * k), arena.bytes(4 * m * blocks)];
      arena.kernels.quantizeRows(name, arena.put(x), codesAt, scalesAt, m, k, block, rounding);
      expectSameBits(arena.f32(scalesAt, scales.length), scales, `scales ${m}×${k} block ${block} ${rounding}`);
      expect(arena.u8(codesAt, m * k), `codes ${m}×${k} block ${block} ${rounding}`).toEqual(codes);

      const [kvCodes, bytes] = [arena.bytes(m * k), arena.bytes(m)];
      arena.kernels.quantizeE8m0(name, arena.put(x), kvCodes, bytes, m, k);
      for (let row = 0; row < m; row++) {
        const amax = x.subarray(row * k, row * k + k).reduce((largest, v) => Math.max(largest, Math.abs(v)), 0);
        const scale = computeScale(amax, { max: format.maxFinite, rounding: 'pow2_up' });
        expect(2 ** (arena.u8(bytes, m)[row]! - 127)).toBe(scale);
        const row8 = arena.u8(kvCodes + row * k, k);
        for (let i = 0; i < k; i++) expect(row8[i]).toBe(format.encode(f(x[row * k + i]! / scale)));
      }
      arena.expectCanariesIntact();
    }
  });
});
