/** @file How the losses of tokens become one number: a weight for every token of the batch. */
import { QuaverError } from '@quaver/numerics';

/**
 * - `token-mean`: the mean over all tokens of the batch; long sequences count more.
 * - `sequence-mean`: the mean over the sequences of the means over their tokens.
 * - `sequence-sum`: the mean over the sequences of the sums over their tokens.
 * - `constant`: like `sequence-sum`, divided by one length for all: no sequence's own length changes how its tokens
 *   count.
 */
export type Aggregation = 'token-mean' | 'sequence-mean' | 'sequence-sum' | 'constant';

export const aggregations: readonly Aggregation[] = ['token-mean', 'sequence-mean', 'sequence-sum', 'constant'];

/**
 * What each token of a sequence counts, by sequence. The lengths are those of all sequences that one optimizer step
 * learns from, in whatever micro-batches they are computed: losses with these weights add up to the loss of the
 * whole.
 * @param lengths sampled tokens of each sequence, at least one
 * @param constantLength what `constant` divides by: the most tokens that may be sampled
 * @throws QuaverError `rl-empty-sequence`
 */
export function tokenWeights(
  aggregation: Aggregation,
  lengths: readonly number[],
  constantLength: number,
): readonly number[] {
  const empty = lengths.findIndex((length) => !(length > 0));
  if (empty >= 0) {
    throw new QuaverError('rl-empty-sequence', `sequence ${empty} has ${lengths[empty]} sampled tokens`, {
      hint: 'A sequence that is learned from has at least one.',
      where: { sequence: empty },
    });
  }
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const sequences = lengths.length;
  const weightOf: Readonly<Record<Aggregation, (length: number) => number>> = {
    'token-mean': () => 1 / tokens,
    'sequence-mean': (length) => 1 / (sequences * length),
    'sequence-sum': () => 1 / sequences,
    constant: () => 1 / (sequences * constantLength),
  };
  return lengths.map(weightOf[aggregation]);
}
