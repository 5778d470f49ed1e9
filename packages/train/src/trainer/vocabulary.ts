import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { Batch } from '../data/batch.ts';

/**
 * Whether the model has an embedding for every token of a batch. A tokenizer may know more tokens than its model as long as the
 * data has none of them.
 * @throws QuaverError `training-vocabulary-too-small`
 */
export function checkVocabulary({ tokens, targets }: Pick<Batch, 'tokens' | 'targets'>, module: Module): void {
  const size = Number(module.metadata['model.vocab_size'] ?? Number.POSITIVE_INFINITY);
  const outside = tokens.find((token) => token >= size) ?? targets.find((token) => token >= size);
  if (outside === undefined) return;
  throw new QuaverError(
    'training-vocabulary-too-small',
    `the tokenizer makes token ${outside} of the data, but module '${module.name}' has ${size} tokens`,
    {
      hint: 'The tokenizer is that of another model: give its own, or create the model with a larger vocab_size.',
      where: { module: module.name, token: outside },
    },
  );
}
