/**
 * @file Our own f32 `exp` and `log`.
 *
 * Platforms differ in theirs by ULPs and worse, so log-probabilities that must agree bit for bit cannot use them.
 * Every operation here is one correctly rounded f32 operation, in a fixed order and never fused: the same text in C,
 * WebAssembly or WGSL gives the same bits. Rounding the f64 result of +, −, × of two f32 numbers once more to f32
 * equals the f32 operation, so `Math.fround` around each operation is exact emulation.
 *
 * The polynomials and the split of ln 2 are those of Cephes `expf` and `logf` (S. L. Moshier, netlib cephes/single).
 */
import { bitsToF32, f32ToBits, powerOfTwo } from './float-bits.ts';

const f = Math.fround;

const LOG2_E = f(1.4426950216293335);
/** 1.5·2^23: adding and subtracting it rounds an f32 to the nearest integer, ties to even. */
const ROUND_TO_INTEGER = 12582912;
/** ln 2 = LN2_HIGH + LN2_LOW, where n·LN2_HIGH is exact for the n that occur. */
const LN2_HIGH = 0.693359375;
const LN2_LOW = f(-2.1219444e-4);

const EXP_MAX_INPUT = 88.72283172607422;
const EXP_MIN_INPUT = -87.33654022216797;

const EXP_0 = f(1.98756915e-4);
const EXP_1 = f(1.3981999507e-3);
const EXP_2 = f(8.3334519073e-3);
const EXP_3 = f(4.1665795894e-2);
const EXP_4 = f(1.6666665459e-1);
const EXP_5 = f(5.0000001201e-1);

/**
 * e^x in f32; `x` is rounded to f32 first. Within 1 ULP of the exact value (0.991 at worst on every third f32).
 * NaN gives NaN; x > 88.7228317… gives +Inf; x < −87.3365402… gives +0 (results below the normal range are zero by definition).
 */
export function exp32(x: number): number {
  x = f(x);
  if (Number.isNaN(x)) return Number.NaN;
  if (x > EXP_MAX_INPUT) return Number.POSITIVE_INFINITY;
  if (x < EXP_MIN_INPUT) return 0;
  const n = f(f(f(x * LOG2_E) + ROUND_TO_INTEGER) - ROUND_TO_INTEGER);
  let r = f(x - f(n * LN2_HIGH));
  r = f(r - f(n * LN2_LOW));
  let p = EXP_0;
  p = f(f(p * r) + EXP_1);
  p = f(f(p * r) + EXP_2);
  p = f(f(p * r) + EXP_3);
  p = f(f(p * r) + EXP_4);
  p = f(f(p * r) + EXP_5);
  let y = f(p * f(r * r));
  y = f(y + r);
  y = f(y + 1);
  // 2^n in two factors: n reaches 128, which has no f32 power of its own.
  const half = n >> 1;
  return f(f(y * powerOfTwo(half)) * powerOfTwo(n - half));
}

const SQRT_HALF = f(Math.SQRT1_2);
const SUBNORMAL_FACTOR = 2 ** 23;

const LOG_0 = f(7.0376836292e-2);
const LOG_1 = f(-1.151461031e-1);
const LOG_2 = f(1.167699874e-1);
const LOG_3 = f(-1.2420140846e-1);
const LOG_4 = f(1.4249322787e-1);
const LOG_5 = f(-1.6668057665e-1);
const LOG_6 = f(2.0000714765e-1);
const LOG_7 = f(-2.4999993993e-1);
const LOG_8 = f(3.3333331174e-1);

/**
 * Natural logarithm in f32; `x` is rounded to f32 first. Within 0.84 ULP of the exact value, near 1 too (0.830 at worst
 * on every f32 from 0.5 to 2).
 * NaN and x < 0 give NaN; ±0 gives −Inf; +Inf gives +Inf.
 */
export function log32(x: number): number {
  x = f(x);
  if (Number.isNaN(x) || x < 0) return Number.NaN;
  if (x === 0) return Number.NEGATIVE_INFINITY;
  if (x === Number.POSITIVE_INFINITY) return x;
  const subnormal = x < 2 ** -126;
  const bits = f32ToBits(subnormal ? x * SUBNORMAL_FACTOR : x);
  let e = ((bits >>> 23) & 255) - (subnormal ? 126 + 23 : 126);
  let m = bitsToF32((bits & 0x007f_ffff) | 0x3f00_0000);
  if (m < SQRT_HALF) {
    e -= 1;
    m = f(f(m + m) - 1);
  } else m = f(m - 1);
  const z = f(m * m);
  let p = LOG_0;
  p = f(f(p * m) + LOG_1);
  p = f(f(p * m) + LOG_2);
  p = f(f(p * m) + LOG_3);
  p = f(f(p * m) + LOG_4);
  p = f(f(p * m) + LOG_5);
  p = f(f(p * m) + LOG_6);
  p = f(f(p * m) + LOG_7);
  p = f(f(p * m) + LOG_8);
  let y = f(f(p * m) * z);
  y = f(y + f(e * LN2_LOW));
  y = f(y - f(0.5 * z));
  return f(f(m + y) + f(e * LN2_HIGH));
}
