import { uniform } from '@quaver/numerics';

/** Numbers drawn one after the other from a stream of the counter-based generator: the same ones everywhere. */
export class Draws {
  readonly #seed: number;
  readonly #stream: number;
  #step = 0;

  constructor(seed: number, stream: number) {
    this.#seed = seed;
    this.#stream = stream;
  }

  /** An integer from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + Math.floor(uniform(this.#seed, this.#stream, this.#step++) * (most - least + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)]!;
  }

  /** Two different ones. */
  pickTwo<T>(items: readonly T[]): [T, T] {
    const first = this.integer(0, items.length - 1);
    const second = this.integer(0, items.length - 2);
    return [items[first]!, items[second < first ? second : second + 1]!];
  }
}
