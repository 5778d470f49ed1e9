/**
 * @file Which examples, in which order: drawn by a counter-based generator, so that an order depends on the seed and the
 * epoch only and can be had again at any time.
 */
import { philox4x32 } from '@quaver/numerics';
import { throwIfAborted } from './abort.ts';

/** Streams of random numbers under one seed: each purpose and each epoch has its own. */
export const streams = {
  split: 0,
  order: (epoch: number): number => 2 * epoch + 1,
  rows: (epoch: number): number => 2 * epoch + 2,
} as const;

/** Draws between two chances to do something else. */
const drawsPerTurn = 1 << 16;

const high = (value: number) => Math.floor(value / 2 ** 32) >>> 0;

/**
 * The numbers from 0 to `count`-1 in random order, all orders alike (Fisher and Yates' shuffle). 4 bytes per example.
 * @throws QuaverError `aborted`
 */
export async function shuffledOrder(
  count: number,
  seed: number,
  stream: number,
  signal?: AbortSignal,
): Promise<Uint32Array> {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1, step = 0; last > 0; step++) {
    const words = philox4x32([step >>> 0, high(step), stream >>> 0, high(stream)], [seed >>> 0, high(seed)]);
    // One call of the generator holds two numbers with 53 bits.
    for (let word = 0; word < 4 && last > 0; word += 2, last--) {
      const uniform = ((words[word]! >>> 5) * 2 ** 26 + (words[word + 1]! >>> 6)) / 2 ** 53;
      const other = Math.floor(uniform * (last + 1));
      [order[last], order[other]] = [order[other]!, order[last]!];
    }
    if (step % drawsPerTurn === drawsPerTurn - 1) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      throwIfAborted(signal);
    }
  }
  return order;
}

/**
 * Two disjoint parts of `count` examples, each in the order of the source: `fraction` of them, but at least one, for
 * validation, and at least one for training.
 * @param count at least 2
 */
export async function splitExamples(
  count: number,
  fraction: number,
  seed: number,
): Promise<{ readonly training: Uint32Array; readonly validation: Uint32Array }> {
  const order = await shuffledOrder(count, seed, streams.split);
  const held = Math.min(count - 1, Math.max(1, Math.round(count * fraction)));
  return { validation: order.slice(0, held).sort(), training: order.slice(held).sort() };
}
