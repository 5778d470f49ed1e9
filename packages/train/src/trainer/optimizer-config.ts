/** @file Optimizers as people write them in a configuration. */
import { globPattern } from '@quaver/compiler';
import type { Parameter } from '@quaver/ir';
import type { OptimizerConfig } from '../config-types.ts';
import type { TrainingModuleOptions } from '../graph/training-module.ts';
import { adafactor } from '../optimizer/adafactor.ts';
import { type AdamWOptions, adamw } from '../optimizer/adamw.ts';
import { muon } from '../optimizer/muon.ts';
import type { Optimizer } from '../optimizer/optimizer.ts';
import { sgd } from '../optimizer/sgd.ts';

/**
 * The optimizer of every parameter, with the weight decay of the configuration or without. Muon leaves embeddings and `lm_head` to
 * AdamW, as its author does: their rows are tokens, not directions. Patterns are globs over whole names.
 */
export function optimizerGroups(
  config: OptimizerConfig,
  noWeightDecay: readonly string[],
  frozen: readonly string[],
): TrainingModuleOptions['optimizer'] {
  const hidden = pair(optimizerOf, config);
  const outer = config.name === 'muon' ? pair(adamOf, config) : hidden;
  const isPlain = matcher(noWeightDecay);
  const isFrozen = matcher(frozen);
  return ({ name }: Pick<Parameter, 'name'>) => {
    if (isFrozen(name)) return undefined;
    const { plain, decayed } = isOuter(name) ? outer : hidden;
    return isPlain(name) ? plain : decayed;
  };
}

/** One object each: optimizers that are the same object form a group. */
function pair<Config extends OptimizerConfig>(
  make: (config: Config) => Optimizer,
  config: Config,
): { readonly plain: Optimizer; readonly decayed: Optimizer } {
  const decayed = make(config);
  return { decayed, plain: config.weight_decay === 0 ? decayed : make({ ...config, weight_decay: 0 }) };
}

const isOuter: (name: string) => boolean = matcher(['*embed_tokens.weight', '*lm_head.weight']);

function optimizerOf(config: OptimizerConfig): Optimizer {
  const weightDecay = config.weight_decay;
  if (config.name === 'sgd') return sgd({ momentum: config.momentum, nesterov: config.nesterov, weightDecay });
  if (config.name === 'adafactor') {
    return adafactor({ decayPower: config.decay_power, eps: config.eps, clip: config.clip, weightDecay });
  }
  if (config.name === 'adamw') return adamOf(config);
  const { momentum, iterations } = config;
  return muon({ momentum, iterations, weightDecay, adamw: adamOptions(config) });
}

type WithAdam = Extract<OptimizerConfig, { readonly name: 'adamw' | 'muon' }>;

function adamOf(config: WithAdam): Optimizer {
  return adamw(adamOptions(config));
}

function adamOptions({ beta1, beta2, eps, weight_decay: weightDecay }: WithAdam): AdamWOptions {
  return { beta1, beta2, eps, weightDecay };
}

function matcher(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map(globPattern);
  return (name) => expressions.some((expression) => expression.test(name));
}
