import { type Recipe, resolveRecipe, withOptions } from '@quaver/compiler';
import { QuaverError } from '@quaver/numerics';
import type { Objective } from '@quaver/train';
import { optimizerGroups } from '@quaver/train';
import type { PolicyOptions } from '../policy/policy.ts';
import type { RlConfig } from './config-types.ts';

/** The recipe of a run, with the choices that the configuration makes beside it. @throws QuaverError `recipe-…` */
export function recipeOf({ recipe, kv_cache: kvCache, attention, lm_head: lmHead }: RlConfig): Recipe {
  return withOptions(resolveRecipe(recipe), { kvCache, attention, lmHead });
}

/**
 * Histories of scales belong to the training step; a generation between two steps would have to share them.
 * @throws QuaverError `rl-recipe-delayed`
 */
export function checkRecipe({ name, generate, train }: Recipe): void {
  if (!JSON.stringify([generate, train]).includes('"granularity":"delayed"')) return;
  throw new QuaverError('rl-recipe-delayed', `the recipe ${name} has delayed scales`, {
    hint: 'Choose a recipe whose scales come from the values themselves, such as fp8-block.',
    where: { recipe: name },
  });
}

/** What a configuration says about the policy. @throws QuaverError `recipe-…` */
export function policyOptions(config: RlConfig, objective: Objective): Omit<PolicyOptions, 'generationExecutor'> {
  return {
    recipe: recipeOf(config),
    optimizer: optimizerGroups(config.optimizer, config.no_weight_decay, config.frozen),
    maxGradientNorm: config.max_grad_norm ?? undefined,
    remat: config.remat,
    seed: config.seed,
    objective,
    pageTokens: config.rollout.page_tokens,
  };
}
