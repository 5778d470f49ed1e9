import { uniform } from '@quaver/numerics';

/** A stream of random numbers that no order of the data has. */
const stream = 2 ** 40;

/**
 * Where the seed of stochastic rounding starts, which every step counts up: runs of neighbouring seeds must not draw each other's
 * numbers a step later. Below 2^30, so that a run does not count beyond i32.
 */
export function roundingSeed(seed: number): number {
  return Math.floor(uniform(seed, stream, 0) * 2 ** 30);
}
