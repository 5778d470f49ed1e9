/** Adds up the time of pieces of work, and of nothing in between. */
export class Stopwatch {
  #milliseconds = 0;

  async time<T>(work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.#milliseconds += performance.now() - start;
    }
  }

  /** `count` things per second of the time so far; 0 when there was no time. */
  rate(count: number): number {
    return this.#milliseconds > 0 ? count / (this.#milliseconds / 1000) : 0;
  }
}
