import { bitsToF32, f32ToBits } from '../float-bits.ts';
import { checkBulkCast, type FloatFormat } from './float-format.ts';

const NAN_CODE = 0xff;
const MAX_CODE = 0xfe;

/** 2^-127, a subnormal f32 and the smallest code. */
const SMALLEST_BITS = 0x0040_0000;
/** The last f32 below 1.5·2^127, which rounds down to 2^127. */
const MAX_ROUNDABLE_BITS = 0x7f3f_ffff;

function encodeBits(word: number, saturate: boolean): number {
  // Zero, every negative value, −0, −Inf and NaN: a format of powers of two has no code for them.
  if (word === 0 || word >>> 31 === 1 || word > 0x7f80_0000) return NAN_CODE;
  if (word > MAX_ROUNDABLE_BITS) return saturate ? MAX_CODE : NAN_CODE;
  if (word <= SMALLEST_BITS) return 0;
  // Adding half carries into the exponent field, which is the code.
  return (word + 0x0040_0000) >>> 23;
}

const table = new Float32Array(256);
for (let code = 0; code < 255; code++) table[code] = code === 0 ? bitsToF32(SMALLEST_BITS) : bitsToF32(code << 23);
table[NAN_CODE] = Number.NaN;

/** E8M0FNU, the power-of-two scale format of OCP microscaling: no sign, no zero, no infinity, 0xFF is NaN. */
export const f8e8m0fnu: FloatFormat = {
  name: 'f8e8m0fnu',
  bits: 8,
  exponentBits: 8,
  mantissaBits: 0,
  bias: 127,
  maxFinite: 2 ** 127,
  maxRoundable: bitsToF32(MAX_ROUNDABLE_BITS),
  minNormal: 2 ** -127,
  minSubnormal: 2 ** -127,
  hasInfinity: false,
  encode: (value, saturate = true) => encodeBits(f32ToBits(value), saturate),
  decode: (code) => table[code & 0xff]!,
  encodeInto(source, target, saturate = true) {
    checkBulkCast('f8e8m0fnu', 8, target, source, target);
    const words = new Uint32Array(source.buffer, source.byteOffset, source.length);
    for (let i = 0; i < words.length; i++) target[i] = encodeBits(words[i]!, saturate);
  },
  decodeInto(source, target) {
    checkBulkCast('f8e8m0fnu', 8, source, source, target);
    for (let i = 0; i < source.length; i++) target[i] = table[source[i]!]!;
  },
};
