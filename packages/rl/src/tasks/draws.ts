import { uniform } from '@quaver/numerics';
import type { ProblemSplit } from './environment.ts';

const splits: readonly ProblemSplit[] = ['train', 'validation', 'held-out'];

/** The numbers that one problem is made of: the same ones everywhere, and others for every index and split. */
export class ProblemDraws {
  readonly #seed: number;
  readonly #stream: number;
  #step = 0;

  constructor(seed: number, index: number, split: ProblemSplit) {
    this.#seed = seed;
    this.#stream = splits.length * index + splits.indexOf(split);
  }

  /** An integer from `least` to `most`, both included. */
  integer(least: number, most: number): number {
    return least + Math.floor(uniform(this.#seed, this.#stream, this.#step++) * (most - least + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)]!;
  }
}
