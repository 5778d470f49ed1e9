import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { compile } from './compile.ts';
import { raiseAttention } from './lowering/raise-attention.ts';
import { parseRecipe } from './recipe/parse-recipe.ts';
import type { AttentionPrecision, Recipe } from './recipe/recipe.ts';
import { withOptions } from './recipe/resolve-recipe.ts';

/** What runs again, on attention alone, after its lowering was taken back. */
const passes = ['verify', 'fp8-lower', 'cse', 'dce', 'fuse', 'plan-memory'];

/**
 * A compiled module with its KV cache in another precision, and everything else as it was. A BF16 cache brings BF16
 * attention with it where attention was FP8. The module itself when it is so already.
 * @throws QuaverError `module-not-lowered`; `recipe-invalid` for an f32 cache under 16-bit attention and the reverse
 */
export async function withKvCache(module: Module, kvCache: AttentionPrecision): Promise<Module> {
  const compiled = recipeOf(module);
  const attention = kvCache === 'bf16' && compiled.generate.attention === 'fp8' ? 'bf16' : undefined;
  const recipe = withOptions(compiled, { kvCache, attention });
  if (sameAttention(recipe, compiled)) return module;
  const raised = raiseAttention(module);
  const metadata = { ...raised.metadata, recipe: JSON.stringify(recipe) };
  return (await compile({ ...raised, metadata }, { recipe, only: passes })).module;
}

function recipeOf(module: Module): Recipe {
  const { recipe, lowered } = module.metadata;
  if (recipe !== undefined && lowered !== undefined) return parseRecipe(JSON.parse(recipe));
  throw new QuaverError(
    'module-not-lowered',
    `module '${module.name}' was not compiled, so its cache has no precision`,
    {
      hint: 'Compile it first.',
      where: { module: module.name },
    },
  );
}

function sameAttention(a: Recipe, b: Recipe): boolean {
  const choices = ({ generate, train }: Recipe) =>
    [generate, train].flatMap(({ kv_cache, attention }) => [kv_cache, attention]).join();
  return choices(a) === choices(b);
}
