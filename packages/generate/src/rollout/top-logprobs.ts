import type { TopLogprob } from './types.ts';

/** The `count` most probable tokens, most probable first, the lowest id among equals. */
export function topLogprobs(row: Float32Array, count: number): TopLogprob[] {
  const best: TopLogprob[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let token = 0; token < row.length; token++) {
    const logprob = row[token]!;
    // One comparison for almost every token of the vocabulary.
    if (best.length === count && logprob <= least) continue;
    let at = best.length;
    while (at > 0 && best[at - 1]!.logprob < logprob) at--;
    best.splice(at, 0, { token, logprob });
    if (best.length > count) best.pop();
    least = best.at(-1)!.logprob;
  }
  return best;
}
