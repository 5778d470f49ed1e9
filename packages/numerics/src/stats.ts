import { QuaverError } from './error.ts';
import { f32ToBits } from './float-bits.ts';
import type { FloatFormat } from './formats/float-format.ts';

/** What a quantization cost, with the field names that reports use. */
export interface QuantizationSummary {
  /** Elements seen. */
  readonly count: number;
  /** Largest finite magnitude of the originals. */
  readonly amax: number;
  /** 10·log10(Σx² / Σ(x−x̂)²) in decibels over the finite elements; Infinity when exact (`null` in JSON). */
  readonly snr_db: number;
  /** Finite elements that the format could not reach and that were clipped (or became Inf or NaN without saturation). */
  readonly saturated: number;
  readonly saturated_percent: number;
  /** Nonzero elements that became zero. */
  readonly underflow: number;
  readonly underflow_percent: number;
  /** Originals that are NaN or ±Inf; they count in nothing else. */
  readonly non_finite: number;
}

/**
 * Accumulates quantization statistics over any number of blocks, so that a tensor never has to be restored as a whole.
 * Sums are f64.
 */
export class QuantizationStats implements QuantizationSummary {
  count = 0;
  amax = 0;
  saturated = 0;
  underflow = 0;
  non_finite = 0;
  #signal = 0;
  #noise = 0;

  /**
   * Adds elements `start` … `end`−1 of two arrays of equal length.
   * @param restored what the original became: decode(code) · scale
   * @param limit magnitudes above it count as saturated: `scale * format.maxRoundable`. Infinity (the default): only
   *   elements that were restored as Inf or NaN count.
   * @throws QuaverError `stats-length-mismatch`
   */
  add(
    original: Float32Array,
    restored: Float32Array,
    limit: number = Number.POSITIVE_INFINITY,
    start = 0,
    end: number = original.length,
  ): void {
    checkLengths(original.length, restored.length);
    for (let i = start; i < end; i++) this.#addElement(original[i]!, restored[i]!, limit);
  }

  /**
   * Adds a block from its codes: x̂ = fround(decode(code) · scale), one scale for the block.
   * @throws QuaverError `stats-length-mismatch`
   */
  addCodes(original: Float32Array, codes: Uint8Array | Uint16Array, format: FloatFormat, scale: number): void {
    checkLengths(original.length, codes.length);
    const limit = format.maxRoundable * scale;
    for (let i = 0; i < original.length; i++)
      this.#addElement(original[i]!, Math.fround(format.decode(codes[i]!) * scale), limit);
  }

  /** Adds everything that another accumulator has seen. */
  merge(other: QuantizationStats): void {
    this.count += other.count;
    this.amax = Math.max(this.amax, other.amax);
    this.saturated += other.saturated;
    this.underflow += other.underflow;
    this.non_finite += other.non_finite;
    this.#signal += other.#signal;
    this.#noise += other.#noise;
  }

  get snr_db(): number {
    return this.#noise === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10(this.#signal / this.#noise);
  }

  get saturated_percent(): number {
    return this.count === 0 ? 0 : (100 * this.saturated) / this.count;
  }

  get underflow_percent(): number {
    return this.count === 0 ? 0 : (100 * this.underflow) / this.count;
  }

  /** A plain object with the figures so far. */
  toJSON(): QuantizationSummary {
    const { count, amax, snr_db, saturated, saturated_percent, underflow, underflow_percent, non_finite } = this;
    return { count, amax, snr_db, saturated, saturated_percent, underflow, underflow_percent, non_finite };
  }

  #addElement(x: number, restored: number, limit: number): void {
    this.count++;
    const magnitude = Math.abs(x);
    // Also false for NaN.
    if (!(magnitude < Number.POSITIVE_INFINITY)) {
      this.non_finite++;
      return;
    }
    if (magnitude > this.amax) this.amax = magnitude;
    const restoredFinite = Math.abs(restored) < Number.POSITIVE_INFINITY;
    if (magnitude > limit || !restoredFinite) this.saturated++;
    if (!restoredFinite) return;
    if (restored === 0 && x !== 0) this.underflow++;
    const error = x - restored;
    this.#signal += x * x;
    this.#noise += error * error;
  }
}

/**
 * Signal-to-noise ratio of `restored` against `original` in decibels: 10·log10(Σx² / Σ(x−x̂)²), in f64, over the
 * elements that are finite in both. Infinity when they are equal.
 * @throws QuaverError `stats-length-mismatch`
 */
export function snr(original: Float32Array, restored: Float32Array): number {
  const stats = new QuantizationStats();
  stats.add(original, restored);
  return stats.snr_db;
}

/**
 * How many f32 numbers lie between `a` and `b` (both rounded to f32), plus one; 0 when they are equal. +0 and −0 are equal,
 * the largest finite number and Inf are neighbours, NaN and NaN are 0 apart, NaN and anything else Infinity.
 */
export function ulpDistance(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) === Number.isNaN(b) ? 0 : Number.POSITIVE_INFINITY;
  return Math.abs(orderedBits(a) - orderedBits(b));
}

/** An integer that grows with the f32: the magnitude bits, negated for negative numbers. */
function orderedBits(value: number): number {
  const bits = f32ToBits(value);
  return bits >>> 31 === 1 ? -(bits & 0x7fff_ffff) : bits;
}

function checkLengths(original: number, restored: number): void {
  if (original !== restored)
    throw new QuaverError(
      'stats-length-mismatch',
      `quantization statistics: expected as many restored elements as originals (${original}), found ${restored}`,
    );
}
