import { QuaverError } from '@quaver/numerics';

/**
 * The advantage of each token of a sequence whose reward comes at its end, with a discount for every token until
 * then: the advantage of the last token is that of the sequence. A discount of 1 gives all tokens the same.
 * @throws QuaverError `rl-reward-not-finite` when the advantage overflows
 */
export function rewardToGo(advantage: number, length: number, discount: number): Float32Array {
  if (!Number.isFinite(Math.fround(advantage))) {
    throw new QuaverError('rl-reward-not-finite', `an advantage of ${advantage} is no finite f32`, {
      hint: 'Rewards are too large: scale them to about 1.',
    });
  }
  const out = new Float32Array(length);
  let value = advantage;
  for (let t = length - 1; t >= 0; t--) {
    out[t] = value;
    value *= discount;
  }
  return out;
}
