const scratch = new ArrayBuffer(4);
const asFloat = new Float32Array(scratch);
const asBits = new Uint32Array(scratch);

/** The 32 bits, as an unsigned integer, of `value` rounded to f32. The bits of a NaN are unspecified. */
export function f32ToBits(value: number): number {
  asFloat[0] = value;
  return asBits[0]!;
}

/** The f32 that has these 32 bits. */
export function bitsToF32(bits: number): number {
  asBits[0] = bits;
  return asFloat[0]!;
}

/** 2^exponent as an f32, for exponents of normal numbers: -126 … 127. */
export function powerOfTwo(exponent: number): number {
  return bitsToF32((exponent + 127) << 23);
}
