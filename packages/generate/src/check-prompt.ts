import { QuaverError } from '@quaver/numerics';
import type { ModelLimits } from './model-limits.ts';

/** @throws QuaverError `prompt-empty`, `prompt-too-long`, `prompt-token-range` */
export function checkPrompt(prompt: readonly number[], { context, vocabSize }: ModelLimits): void {
  if (prompt.length === 0) {
    throw new QuaverError('prompt-empty', 'the prompt has no tokens', { hint: 'Give at least one word.' });
  }
  if (prompt.length >= context) {
    throw new QuaverError('prompt-too-long', `the prompt has ${prompt.length} tokens, the context ${context}`, {
      hint: `Shorten it to at most ${context - 1} tokens, or import the model with a longer context.`,
    });
  }
  const bad = prompt.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocabSize));
  if (bad === undefined) return;
  throw new QuaverError('prompt-token-range', `token ${bad} is not one of the model's ${vocabSize}`, {
    hint: 'Does the tokenizer belong to this model?',
  });
}
