import { QuaverError } from './error.ts';
import { f32ToBits, powerOfTwo } from './float-bits.ts';

/**
 * How a scale is rounded: not at all (an f32), up to the next power of two, or to the nearest power of two
 * (ties up; values up to 1.5·max·scale then saturate).
 */
export type ScaleRounding = 'none' | 'pow2_up' | 'pow2_nearest';

export interface ScaleOptions {
  /** The largest magnitude of the target format, such as 448; rounded to f32, at least 1. */
  readonly max: number;
  readonly rounding: ScaleRounding;
}

const INFINITY_BITS = 0x7f80_0000;
const MIN_SCALE = 2 ** -126;

/**
 * The scale s of a block whose largest magnitude is `amax` (an f32; its sign is ignored): x ≈ q·s, q = cast(x / s).
 *
 * - `none`: amax / max rounded to f32, at least 2^-126.
 * - `pow2_up`: the smallest power of two s with amax / s ≤ max, found by comparing significands, so that no division
 *   and no logarithm can round it wrong; within [2^-126, 2^127].
 * - `pow2_nearest`: the power of two nearest to the exact quotient amax / max, ties up; within the same range.
 *
 * amax 0, Inf or NaN gives 1: nothing is divided by zero, and the cast's own saturation and NaN rule applies.
 * @throws QuaverError `scale-max-invalid`
 */
export function computeScale(amax: number, options: ScaleOptions): number {
  const amaxBits = f32ToBits(amax) & 0x7fff_ffff;
  const maxBits = f32ToBits(options.max);
  if (!(options.max >= 1) || maxBits >= INFINITY_BITS)
    throw new QuaverError(
      'scale-max-invalid',
      `computeScale: expected max to be a finite number of at least 1, found ${options.max}`,
      { hint: "Pass the format's maxFinite, for example 448 for f8e4m3fn." },
    );
  if (amaxBits === 0 || amaxBits >= INFINITY_BITS) return 1;
  if (options.rounding === 'none') {
    const quotient = Math.fround(Math.fround(Math.abs(amax)) / Math.fround(options.max));
    return Math.max(quotient, MIN_SCALE);
  }
  // Biased exponents: a subnormal amax has 0 and ends at the lower clamp whatever its significand, because max ≥ 1.
  const exponent = (amaxBits >>> 23) - (maxBits >>> 23);
  const amaxSignificand = (amaxBits & 0x7f_ffff) | 0x80_0000;
  const maxSignificand = (maxBits & 0x7f_ffff) | 0x80_0000;
  const roundedUp =
    options.rounding === 'pow2_up'
      ? exponent + (amaxSignificand > maxSignificand ? 1 : 0)
      : nearestExponent(exponent, amaxSignificand, maxSignificand);
  return powerOfTwo(Math.min(Math.max(roundedUp, -126), 127));
}

/** The exponent of the power of two nearest to (a / m)·2^exponent, for significands a, m in [2^23, 2^24). Ties go up. */
function nearestExponent(exponent: number, a: number, m: number): number {
  if (a >= m) return 2 * a >= 3 * m ? exponent + 1 : exponent;
  return 4 * a >= 3 * m ? exponent : exponent - 1;
}
