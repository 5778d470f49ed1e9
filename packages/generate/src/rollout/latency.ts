/** Bins per doubling: what comes out is within 1.1 % of what went in. */
const binsPerDoubling = 32;
/** The lowest bin begins at this many seconds. */
const shortest = 1e-6;

/** Quantiles of durations in memory that does not grow with their number. */
export class LatencyHistogram {
  readonly #bins = new Map<number, number>();
  #count = 0;

  add(seconds: number): void {
    const bin = Math.floor(binsPerDoubling * Math.log2(Math.max(seconds, shortest) / shortest));
    this.#bins.set(bin, (this.#bins.get(bin) ?? 0) + 1);
    this.#count++;
  }

  /** In seconds; 0 when there are none. @param share from 0 to 1 */
  quantile(share: number): number {
    let left = Math.max(1, Math.ceil(share * this.#count));
    for (const [bin, count] of [...this.#bins].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 0) return shortest * 2 ** ((bin + 0.5) / binsPerDoubling);
    }
    return 0;
  }
}
