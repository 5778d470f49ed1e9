import type { Module } from '@quaver/ir';
import type { Phase } from '../recipe/recipe.ts';

/** The phase that a function belongs to, from the module's metadata (`phase.decode` = `generate`). */
export function phaseOf(module: Module, functionName: string): Phase {
  return module.metadata[`phase.${functionName}`] === 'train' ? 'train' : 'generate';
}
