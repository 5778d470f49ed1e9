/** @file Recipes by name: `fp8-block`, or with choices changed, as their names are written: `fp8-block+kv-cache=fp8`. */
import { QuaverError } from '@quaver/numerics';
import { builtInRecipes } from './built-in.ts';
import { attentionPrecisions, parseRecipe } from './parse-recipe.ts';
import type { AttentionPrecision, Recipe } from './recipe.ts';
import { changeRecipe, type RecipeOptions } from './with-options.ts';

/**
 * A recipe by name, or checked when it is an object.
 * @throws QuaverError `recipe-unknown`, `recipe-invalid`
 */
export function resolveRecipe(recipe: string | Recipe): Recipe {
  if (typeof recipe !== 'string') return parseRecipe(recipe);
  const [name, ...changes] = recipe.split('+');
  const known = builtInRecipes.get(name!);
  if (known)
    return changeRecipe(known, Object.assign({}, ...changes.map((change) => optionOf(recipe, change, changes))));
  throw new QuaverError('recipe-unknown', `there is no recipe named '${name}'`, {
    hint: `Recipes are ${[...builtInRecipes.keys()].join(', ')}; or write one as JSON, see docs/recipes.md.`,
    where: { recipe },
  });
}

/**
 * A recipe with some choices changed; see `changeRecipe`.
 * @throws QuaverError `recipe-unknown`, `recipe-invalid`
 */
export function withOptions(recipe: string | Recipe, options: RecipeOptions): Recipe {
  return changeRecipe(resolveRecipe(recipe), options);
}

const optionNames: ReadonlyMap<string, keyof RecipeOptions> = new Map([
  ['kv-cache', 'kvCache'],
  ['attention', 'attention'],
  ['lm-head', 'lmHead'],
]);

/** @param others the choices beside it: one may be made once */
function optionOf(recipe: string, change: string, others: readonly string[]): RecipeOptions {
  const [name = '', value = '', ...rest] = change.split('=');
  const option = optionNames.get(name);
  const isKnown = rest.length === 0 && attentionPrecisions.includes(value as AttentionPrecision);
  const isOnce = others.filter((other) => other.startsWith(`${name}=`)).length === 1;
  if (option && isKnown && isOnce) return { [option]: value };
  throw new QuaverError('recipe-unknown', `recipe '${recipe}': '${change}' is no choice of a recipe`, {
    hint: `Choices are ${[...optionNames.keys()].join(', ')}, each once, with ${attentionPrecisions.join(', ')}, as in fp8-block+kv-cache=fp8.`,
    where: { recipe },
  });
}
