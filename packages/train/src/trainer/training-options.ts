/** @file What a configuration says about a model that trains, checked against the model. */
import { globPattern, type Recipe } from '@quaver/compiler';
import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { TrainConfig } from '../config-types.ts';
import type { CompileTrainingOptions } from './compile-training.ts';
import { optimizerGroups } from './optimizer-config.ts';

/** @throws QuaverError `training-too-long`, `training-frozen-unmatched` */
export function trainingOptions(config: TrainConfig, module: Module): CompileTrainingOptions {
  checkContext(config.batch.tokens, module);
  checkFrozen(config.frozen, module);
  return {
    recipe: config.recipe as string | Recipe,
    optimizer: optimizerGroups(config.optimizer, config.no_weight_decay, config.frozen),
    maxGradientNorm: config.max_grad_norm ?? undefined,
    remat: config.remat,
    measureQuantization: config.quantization_every > 0,
  };
}

/** @throws QuaverError `training-too-long` */
export function checkContext(tokens: number, { symbols }: Module): void {
  const context = symbols.find(({ name }) => name === 'T')?.max ?? Number.POSITIVE_INFINITY;
  if (tokens <= context) return;
  throw new QuaverError(
    'training-too-long',
    `rows of ${tokens} tokens, but the model was made for a context of ${context}`,
    { hint: `Choose batch.tokens up to ${context}, or import the model with a longer context.` },
  );
}

/** A pattern that is misspelt would train what shall stay as it is. */
function checkFrozen(patterns: readonly string[], { name, parameters }: Module): void {
  const trainable = parameters.filter((parameter) => parameter.trainable);
  for (const pattern of patterns) {
    const expression = globPattern(pattern);
    if (trainable.some((parameter) => expression.test(parameter.name))) continue;
    throw new QuaverError('training-frozen-unmatched', `frozen: '${pattern}' is no parameter of module '${name}'`, {
      hint: `Patterns are of whole names, such as ${trainable[0]?.name ?? 'model.norm.weight'}; \`quaver inspect\` lists them.`,
      where: { module: name, pattern },
    });
  }
}
