import { f8e8m0fnu } from './f8e8m0.ts';
import type { FloatFormat, FloatFormatName } from './float-format.ts';
import { defineSignedFormat } from './signed-format.ts';

/** OCP FP8 E4M3: no infinity, one NaN per sign, ±448. */
export const f8e4m3fn: FloatFormat = defineSignedFormat({
  name: 'f8e4m3fn',
  bits: 8,
  exponentBits: 4,
  bias: 7,
  maxCode: 0x7e,
  nanCode: 0x7f,
  infinityCode: undefined,
  unsignedZero: false,
  saturateByDefault: true,
});

/** OCP FP8 E5M2: IEEE-like, ±57344, infinities. */
export const f8e5m2: FloatFormat = defineSignedFormat({
  name: 'f8e5m2',
  bits: 8,
  exponentBits: 5,
  bias: 15,
  maxCode: 0x7b,
  nanCode: 0x7e,
  infinityCode: 0x7c,
  unsignedZero: false,
  saturateByDefault: true,
});

/** FP8 E4M3 with bias 8, one zero and one NaN (0x80), ±240. */
export const f8e4m3fnuz: FloatFormat = defineSignedFormat({
  name: 'f8e4m3fnuz',
  bits: 8,
  exponentBits: 4,
  bias: 8,
  maxCode: 0x7f,
  nanCode: 0x80,
  infinityCode: undefined,
  unsignedZero: true,
  saturateByDefault: true,
});

/** FP8 E5M2 with bias 16, one zero and one NaN (0x80), ±57344. */
export const f8e5m2fnuz: FloatFormat = defineSignedFormat({
  name: 'f8e5m2fnuz',
  bits: 8,
  exponentBits: 5,
  bias: 16,
  maxCode: 0x7f,
  nanCode: 0x80,
  infinityCode: undefined,
  unsignedZero: true,
  saturateByDefault: true,
});

/** bfloat16: the upper half of an f32. */
export const bf16: FloatFormat = defineSignedFormat({
  name: 'bf16',
  bits: 16,
  exponentBits: 8,
  bias: 127,
  maxCode: 0x7f7f,
  nanCode: 0x7fc0,
  infinityCode: 0x7f80,
  unsignedZero: false,
  saturateByDefault: false,
});

/** IEEE 754 binary16. */
export const f16: FloatFormat = defineSignedFormat({
  name: 'f16',
  bits: 16,
  exponentBits: 5,
  bias: 15,
  maxCode: 0x7bff,
  nanCode: 0x7e00,
  infinityCode: 0x7c00,
  unsignedZero: false,
  saturateByDefault: false,
});

export { f8e8m0fnu };

/** Every format by name. */
export const floatFormats: Readonly<Record<FloatFormatName, FloatFormat>> = {
  f8e4m3fn,
  f8e5m2,
  f8e4m3fnuz,
  f8e5m2fnuz,
  f8e8m0fnu,
  bf16,
  f16,
};
