/** @file Optimizers as people write them in a configuration. */
import { globPattern } from '@quaver/compiler';
import type { Parameter } from '@quaver/ir';
import type { OptimizerConfig } from '../config-types.ts';
import type { TrainingModuleOptions } from '../graph/training-module.ts';
import { adafactor } from '../optimizer/adafactor.ts';
import { adamw } from '../optimizer/adamw.ts';
import { muon } from '../optimizer/muon.ts';
import type { Optimizer } from '../optimizer/optimizer.ts';
import { sgd } from '../optimizer/sgd.ts';

/**
 * The optimizer of every parameter: two groups, with the weight decay of the configuration and without. Patterns are globs over
 * whole names.
 */
export function optimizerGroups(
  config: OptimizerConfig,
  noWeightDecay: readonly string[],
  frozen: readonly string[],
): TrainingModuleOptions['optimizer'] {
  const decayed = optimizerOf(config);
  const plain = config.weight_decay === 0 ? decayed : optimizerOf({ ...config, weight_decay: 0 });
  const isPlain = matcher(noWeightDecay);
  const isFrozen = matcher(frozen);
  return ({ name }: Pick<Parameter, 'name'>) => {
    if (isFrozen(name)) return undefined;
    return isPlain(name) ? plain : decayed;
  };
}

function optimizerOf(config: OptimizerConfig): Optimizer {
  const weightDecay = config.weight_decay;
  if (config.name === 'sgd') return sgd({ momentum: config.momentum, nesterov: config.nesterov, weightDecay });
  if (config.name === 'adafactor') {
    return adafactor({ decayPower: config.decay_power, eps: config.eps, clip: config.clip, weightDecay });
  }
  const { beta1, beta2, eps } = config;
  const rest = { beta1, beta2, eps, weightDecay };
  if (config.name === 'adamw') return adamw(rest);
  return muon({ momentum: config.momentum, iterations: config.iterations, weightDecay, adamw: rest });
}

function matcher(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map(globPattern);
  return (name) => expressions.some((expression) => expression.test(name));
}
