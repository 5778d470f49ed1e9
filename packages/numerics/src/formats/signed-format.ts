import { bitsToF32, f32ToBits } from '../float-bits.ts';
import { checkBulkCast, type FloatFormat, type FloatFormatName } from './float-format.ts';

const F32_BIAS = 127;
const F32_MANTISSA_BITS = 23;
const F32_IMPLICIT_ONE = 1 << F32_MANTISSA_BITS;
const F32_INFINITY_BITS = 0x7f80_0000;

/** What distinguishes one sign-exponent-mantissa format from another. */
export interface SignedFormatSpec {
  readonly name: FloatFormatName;
  readonly bits: 8 | 16;
  readonly exponentBits: number;
  readonly bias: number;
  /** Code of the largest finite value. */
  readonly maxCode: number;
  readonly nanCode: number;
  /** Code of +Inf, or undefined where the format has none. */
  readonly infinityCode: number | undefined;
  /** FNUZ formats have one zero, and the code of −0 is their only NaN. */
  readonly unsignedZero: boolean;
  readonly saturateByDefault: boolean;
}

/** Builds the casts of a format with a sign, an exponent and a mantissa: E4M3FN, E5M2, their FNUZ variants, BF16, F16. */
export function defineSignedFormat(spec: SignedFormatSpec): FloatFormat {
  const { name, bits, exponentBits, bias } = spec;
  const mantissaBits = bits - 1 - exponentBits;
  const encodeBits = bitEncoder(spec, mantissaBits);
  const decodeCode = codeValue(spec, mantissaBits);
  const table = new Float32Array(1 << bits);
  for (let code = 0; code < table.length; code++) table[code] = decodeCode(code);
  const codeMask = table.length - 1;

  return {
    name,
    bits,
    exponentBits,
    mantissaBits,
    bias,
    maxFinite: decodeCode(spec.maxCode),
    maxRoundable: bitsToF32(lastRoundable(spec, mantissaBits)),
    minNormal: 2 ** (1 - bias),
    minSubnormal: 2 ** (1 - bias - mantissaBits),
    hasInfinity: spec.infinityCode !== undefined,
    encode: (value, saturate = spec.saturateByDefault) => encodeBits(f32ToBits(value), saturate),
    decode: (code) => table[code & codeMask]!,
    encodeInto(source, target, saturate = spec.saturateByDefault) {
      checkBulkCast(name, bits, target, source, target);
      const words = new Uint32Array(source.buffer, source.byteOffset, source.length);
      for (let i = 0; i < words.length; i++) target[i] = encodeBits(words[i]!, saturate);
    },
    decodeInto(source, target) {
      checkBulkCast(name, bits, source, source, target);
      for (let i = 0; i < source.length; i++) target[i] = table[source[i]!]!;
    },
  };
}

/** The cast from the 32 bits of an f32 to a code: round to nearest, ties to even. */
function bitEncoder(spec: SignedFormatSpec, mantissaBits: number): (word: number, saturate: boolean) => number {
  const { bits, bias, maxCode, nanCode, infinityCode, unsignedZero } = spec;
  const shift = F32_MANTISSA_BITS - mantissaBits;
  const halfMinusOne = (1 << (shift - 1)) - 1;
  const rebias = (F32_BIAS - bias) << F32_MANTISSA_BITS;
  const minNormalExponent = F32_BIAS - bias + 1;
  // A format with the exponent of f32 needs no second path: its subnormals are the f32 subnormals, cut short.
  const minNormalBits = bias === F32_BIAS ? 0 : minNormalExponent << F32_MANTISSA_BITS;
  const signShift = 32 - bits;
  const signMask = 1 << (bits - 1);

  return (word, saturate) => {
    const magnitude = word & 0x7fff_ffff;
    if (magnitude > F32_INFINITY_BITS) return nanCode;
    const sign = (word >>> signShift) & signMask;
    let code: number;
    if (magnitude >= minNormalBits) {
      const rebased = magnitude - rebias;
      code = (rebased + halfMinusOne + ((rebased >>> shift) & 1)) >>> shift;
      if (code > maxCode) {
        if (saturate) return sign | maxCode;
        return infinityCode === undefined ? sign | nanCode : sign | infinityCode;
      }
    } else {
      const drop = shift + minNormalExponent - (magnitude >>> F32_MANTISSA_BITS);
      if (drop > F32_MANTISSA_BITS + 1) code = 0;
      else {
        const significand = (magnitude & (F32_IMPLICIT_ONE - 1)) | F32_IMPLICIT_ONE;
        code = (significand + (1 << (drop - 1)) - 1 + ((significand >>> drop) & 1)) >>> drop;
      }
    }
    return unsignedZero && code === 0 ? 0 : sign | code;
  };
}

/** Bits of the largest f32 that rounds to `maxCode`: the midpoint above it where ties go down, else the f32 before it. */
function lastRoundable(spec: SignedFormatSpec, mantissaBits: number): number {
  const shift = F32_MANTISSA_BITS - mantissaBits;
  const midpoint = (spec.maxCode << shift) + ((F32_BIAS - spec.bias) << F32_MANTISSA_BITS) + (1 << (shift - 1));
  return spec.maxCode % 2 === 0 ? midpoint : midpoint - 1;
}

/** The value of a code, from the definition of the format; used to fill the decode table. */
function codeValue(spec: SignedFormatSpec, mantissaBits: number): (code: number) => number {
  const signMask = 1 << (spec.bits - 1);
  return (code) => {
    const magnitude = code & (signMask - 1);
    if (spec.unsignedZero && code === spec.nanCode) return Number.NaN;
    const sign = (code & signMask) !== 0 ? -1 : 1;
    if (magnitude === spec.infinityCode) return sign * Number.POSITIVE_INFINITY;
    if (magnitude > spec.maxCode) return Number.NaN;
    const exponent = magnitude >>> mantissaBits;
    const mantissa = magnitude & ((1 << mantissaBits) - 1);
    const implicitOne = exponent === 0 ? 0 : 1 << mantissaBits;
    return sign * (implicitOne + mantissa) * 2 ** (Math.max(exponent, 1) - spec.bias - mantissaBits);
  };
}
