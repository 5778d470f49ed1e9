/**
 * @file The inverse of the normal distribution function: algorithm AS 241, PPND7 (M. J. Wichura, "The percentage points of
 * the normal distribution", Applied Statistics 37, 1988), whose relative error is about 1e-7. Rational functions in f64, one
 * square root and our own logarithm: every operation is correctly rounded or ours, so the bits are the same everywhere.
 */
import { log32 } from './elementary.ts';

/** a₀ + a₁·x + a₂·x² + … */
function polynomial(x: number, coefficients: readonly number[]): number {
  let sum = 0;
  for (let i = coefficients.length - 1; i >= 0; i--) sum = sum * x + coefficients[i]!;
  return sum;
}

/** Half-width of the middle part, in which no logarithm is needed. */
const middle = 0.425;
const middleTop = [3.3871327179, 50.434271938, 159.29113202, 59.10937472];
const middleBottom = [1, 17.895169469, 78.757757664, 67.1875636];

const shoulder = 1.6;
const shoulderTop = [1.4234372777, 2.75681539, 1.3067284816, 0.17023821103];
const shoulderBottom = [1, 0.7370016425, 0.12021132975];

const tail = 5;
const tailTop = [6.657905115, 3.081226386, 0.42868294337, 0.017337203997];
const tailBottom = [1, 0.24197894225, 0.012258202635];

/** The z with Φ(z) = `p`. 0 gives −∞ and 1 gives +∞; below 0, above 1, and NaN give NaN. */
export function normalQuantile(p: number): number {
  if (!(p >= 0 && p <= 1)) return Number.NaN;
  if (p === 0 || p === 1) return p === 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  const q = p - 0.5;
  if (Math.abs(q) <= middle) {
    const r = middle * middle - q * q;
    return (q * polynomial(r, middleTop)) / polynomial(r, middleBottom);
  }
  const r = Math.sqrt(-log32(q < 0 ? p : 1 - p));
  const z =
    r <= tail
      ? polynomial(r - shoulder, shoulderTop) / polynomial(r - shoulder, shoulderBottom)
      : polynomial(r - tail, tailTop) / polynomial(r - tail, tailBottom);
  return q < 0 ? -z : z;
}
