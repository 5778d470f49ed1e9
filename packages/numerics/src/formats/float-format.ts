import { QuaverError } from '../error.ts';

/** Narrow floating-point formats; 'f8e4m3fn' and its kind are named as in StableHLO and ml_dtypes. */
export type FloatFormatName = 'f8e4m3fn' | 'f8e5m2' | 'f8e4m3fnuz' | 'f8e5m2fnuz' | 'f8e8m0fnu' | 'bf16' | 'f16';

/**
 * A narrow floating-point format and its casts from and to f32.
 *
 * Every cast works on the bits of the f32 with integer arithmetic, so it gives the same code on every machine.
 * Rounding is to nearest, ties to the even code (E8M0: ties up, see {@link FloatFormat.encode}).
 */
export interface FloatFormat {
  readonly name: FloatFormatName;
  /** Width of a code: 8-bit codes live in a Uint8Array, 16-bit codes in a Uint16Array. */
  readonly bits: 8 | 16;
  readonly exponentBits: number;
  /** Stored mantissa bits, without the implicit one. */
  readonly mantissaBits: number;
  readonly bias: number;
  /** Largest finite value. */
  readonly maxFinite: number;
  /** Largest f32 that still rounds to a finite code; anything above it overflows. 464 for E4M3FN, whose maxFinite is 448. */
  readonly maxRoundable: number;
  readonly minNormal: number;
  /** Smallest positive value; equal to `minNormal` where the format has no subnormals (E8M0). */
  readonly minSubnormal: number;
  readonly hasInfinity: boolean;

  /**
   * The code of `value`. The cast is defined *from f32*: `value` is first rounded with `Math.fround`.
   *
   * `saturate = true` (default of the 8-bit formats): overflow and ±Inf give ±maxFinite.
   * `saturate = false` (default of bf16 and f16): they give ±Inf, or NaN where the format has no infinity.
   * NaN always gives the positive quiet NaN of the format (0x80 in the FNUZ formats): the sign of a NaN is not
   * observable in JavaScript and differs between processors. −0 keeps its sign, except in FNUZ, which has no −0.
   *
   * E8M0 has neither sign nor zero: it rounds to the nearest power of two, ties up, except that everything between
   * 2^-127 and 2^-126 goes up (as in ml_dtypes and PyTorch); positive values below 2^-127 give 2^-127; ±0, negative
   * values and −Inf give NaN whatever `saturate` says.
   */
  encode(value: number, saturate?: boolean): number;

  /** The value of a code, exactly. Only the low 8 or 16 bits of `code` count. */
  decode(code: number): number;

  /**
   * Encodes `source[i]` into `target[i]` for every element of `source`, as {@link FloatFormat.encode} does.
   * @throws QuaverError `cast-target-too-short`, `cast-width-mismatch`
   */
  encodeInto(source: Float32Array, target: Uint8Array | Uint16Array, saturate?: boolean): void;

  /**
   * Decodes `source[i]` into `target[i]` for every element of `source`.
   * @throws QuaverError `cast-target-too-short`, `cast-width-mismatch`
   */
  decodeInto(source: Uint8Array | Uint16Array, target: Float32Array): void;
}

/** Throws unless `codes` has the element width of the format and `target` has room for all of `source`. */
export function checkBulkCast(
  name: FloatFormatName,
  bits: 8 | 16,
  codes: Uint8Array | Uint16Array,
  source: { readonly length: number },
  target: { readonly length: number },
): void {
  if (codes.BYTES_PER_ELEMENT * 8 !== bits)
    throw new QuaverError(
      'cast-width-mismatch',
      `${name} codes are ${bits} bits wide, but the code array has ${codes.BYTES_PER_ELEMENT * 8}-bit elements`,
      { hint: `Pass a Uint${bits}Array; view raw bytes with new Uint${bits}Array(buffer, byteOffset, length).` },
    );
  if (target.length < source.length)
    throw new QuaverError(
      'cast-target-too-short',
      `${name} cast: expected room for ${source.length} elements in the target, found ${target.length}`,
      { hint: 'Allocate the target with the length of the source.' },
    );
}
