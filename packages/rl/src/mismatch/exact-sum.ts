/**
 * A sum of f64 numbers that is rounded once, at the end: it does not depend on the order of its terms, nor on how
 * they were split into parts. The terms are held as a few numbers that do not overlap (Shewchuk, 1997, Discrete &
 * Computational Geometry 18).
 */
export class ExactSum {
  /** By magnitude, smallest first; their exact sum is that of all finite terms. */
  #parts: number[] = [];
  /** Sum of the terms that are not finite. */
  #notFinite = 0;

  add(term: number): void {
    let x = term;
    const parts: number[] = [];
    for (const part of this.#parts) {
      const [large, small] = Math.abs(x) < Math.abs(part) ? [part, x] : [x, part];
      x = large + small;
      const error = small - (x - large);
      if (error !== 0) parts.push(error);
    }
    if (!Number.isFinite(x)) this.#notFinite += x;
    else this.#parts = [...parts, x];
  }

  merge(other: ExactSum): void {
    for (const part of other.#parts) this.add(part);
    this.#notFinite += other.#notFinite;
  }

  get value(): number {
    if (this.#notFinite !== 0) return this.#notFinite;
    const parts = this.#parts;
    let sum = 0;
    for (let i = parts.length - 1; i >= 0; i--) {
      const before = sum;
      sum = before + parts[i]!;
      const error = parts[i]! - (sum - before);
      if (error !== 0) return roundedHalfEven(sum, error, parts[i - 1]);
    }
    return sum;
  }
}

/** Half a unit in the last place goes the way that the parts below it say; addition alone would round it to even. */
function roundedHalfEven(sum: number, error: number, below: number | undefined): number {
  if (below === undefined || Math.sign(below) !== Math.sign(error)) return sum;
  const doubled = error * 2;
  const next = sum + doubled;
  return next - sum === doubled ? next : sum;
}
