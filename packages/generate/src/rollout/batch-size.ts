/**
 * @file Sizes that a call is padded to. Executors bind a function to its sizes; a size that is another one at every step would
 * be bound at every step.
 */

/** The smallest of 1, 2, 3, 4, 6, 8, 12, 16, 24, … that is at least `count`, but no more than `limit`. */
export function paddedSize(count: number, limit: number): number {
  let size = 1;
  while (size < count) size = size % 3 === 0 ? (size / 3) * 4 : size === 1 ? 2 : (size / 2) * 3;
  return Math.max(count, Math.min(size, limit));
}

/** Calls in a row that a smaller size must do before it is taken. */
const patience = 8;

/** A padded size that grows at once and shrinks late: batches lose and win sequences all the time. */
export class SteadySize {
  readonly #limit: number;
  #size = 0;
  #smallerCalls = 0;
  /** The largest that was asked for since the size could have been smaller. */
  #recent = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The size of the next call, which needs `count`. */
  next(count: number): number {
    const wanted = paddedSize(count, this.#limit);
    if (wanted >= this.#size) return this.#take(wanted);
    this.#recent = Math.max(this.#recent, wanted);
    if (++this.#smallerCalls < patience) return this.#size;
    return this.#take(this.#recent);
  }

  #take(size: number): number {
    this.#size = size;
    this.#smallerCalls = 0;
    this.#recent = 0;
    return size;
  }
}
