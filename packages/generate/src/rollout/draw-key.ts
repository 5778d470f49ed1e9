import { philox4x32, QuaverError, type Words4 } from '@quaver/numerics';
import type { RequestId } from './types.ts';

/** Which numbers a sequence draws: arguments of `uniform`. */
export interface DrawKey {
  readonly seed: number;
  readonly stream: number;
}

const words = (value: number): [number, number] => [value >>> 0, Math.floor(value / 2 ** 32) >>> 0];
/** The upper 53 of 64 bits. */
const integer53 = (high: number, low: number): number => high * 2 ** 21 + (low >>> 11);

/**
 * The draws of a sequence, from the numbers that name it. The numbers go one by one through a Philox state of 128 bits, each as
 * the key of a permutation of it: lists that differ in a number, its place or their length give unrelated draws.
 */
export function drawKey(names: readonly number[]): DrawKey {
  let state: Words4 = [...words(names.length), 0, 0];
  for (const name of names) state = philox4x32(state, words(name));
  return { seed: integer53(state[0], state[1]), stream: integer53(state[2], state[3]) };
}

/**
 * The key of a request that was given none: its id, a text by its UTF-16 units.
 * @throws QuaverError `rollout-key-invalid`
 */
export function keyOf(id: RequestId, key: readonly number[] | undefined): readonly number[] {
  const numbers =
    key ?? (typeof id === 'number' ? [id] : Array.from({ length: id.length }, (_, i) => id.charCodeAt(i)));
  const bad = numbers.find((value) => !(Number.isSafeInteger(value) && value >= 0));
  if (bad === undefined) return numbers;
  throw new QuaverError('rollout-key-invalid', `the key holds ${bad}, expected integers from 0`, {
    hint: key ? 'Give a list of integers.' : 'Give the request a `key`, or an id that is a text or an integer from 0.',
  });
}
