/**
 * The advantage of each token of a sequence whose reward comes at its end, with a discount for every token until
 * then: the advantage of the last token is that of the sequence. A discount of 1 gives all tokens the same.
 */
export function rewardToGo(advantage: number, length: number, discount: number): Float32Array {
  const out = new Float32Array(length);
  let value = advantage;
  for (let t = length - 1; t >= 0; t--) {
    out[t] = value;
    value *= discount;
  }
  return out;
}
