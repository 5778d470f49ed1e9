import { parseRecipe, type Recipe } from '@quaver/compiler';
import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/** Whether a module was compiled: an imported one runs only after a recipe has chosen its precision. */
export function isCompiled(module: Module): boolean {
  return module.metadata.lowered !== undefined;
}

/**
 * The recipe that a module was compiled with, or undefined when it was not compiled.
 * @throws QuaverError `recipe-invalid` when the module's metadata is damaged
 */
export function recipeOf(module: Module): Recipe | undefined {
  const text = module.metadata.recipe;
  if (text === undefined) return undefined;
  try {
    return parseRecipe(JSON.parse(text));
  } catch (cause) {
    throw new QuaverError('recipe-invalid', `module '${module.name}' names a recipe that cannot be read`, {
      hint: 'Compile the model again with this release.',
      where: { module: module.name },
      cause,
    });
  }
}
