import type { Recipe } from '@quaver/compiler';
import { type CompileOptions, type CompileResult, compile, type RecipeOptions, withOptions } from '@quaver/compiler';
import type { Module } from '@quaver/ir';

export type CompileModelOptions = Omit<CompileOptions, 'recipe'> &
  RecipeOptions & {
    /** A built-in recipe's name, or a recipe; default `fp8-block`. */
    readonly recipe?: string | Recipe;
  };

/**
 * Compiles an imported module with a recipe. The result's weights are computed when they are read, so writing the
 * module or opening a session does that work.
 * @throws QuaverError `recipe-…`, `module-already-lowered`, `compile-…`, `aborted`
 */
export async function compileModel(module: Module, options: CompileModelOptions = {}): Promise<CompileResult> {
  const { recipe = 'fp8-block', kvCache, attention, lmHead, ...rest } = options;
  return compile(module, { ...rest, recipe: withOptions(recipe, { kvCache, attention, lmHead }) });
}
