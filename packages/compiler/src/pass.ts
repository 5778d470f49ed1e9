import type { Module, OpRegistry, Supports } from '@quaver/ir';
import type { WeightStatistics } from './folding/weight-statistics.ts';
import type { Recipe } from './recipe/recipe.ts';
import type { Assignment } from './report/assignment.ts';

/** What an executor says about nodes; `partition` and `legalize` act only when there is one. */
export interface CompileTarget {
  readonly supports: Supports;
}

/** Long work in progress. `done` counts from 0 to `total`. */
export type CompileProgress =
  | { readonly type: 'pass'; readonly name: string; readonly done: number; readonly total: number }
  | { readonly type: 'weights'; readonly name: string; readonly done: number; readonly total: number };

/** What passes may read, and the two things they may leave for the report. */
export interface PassContext {
  readonly recipe: Recipe;
  readonly registry: OpRegistry;
  readonly target: CompileTarget | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((event: CompileProgress) => void) | undefined;
  /** By parameter name; `emit` fills it while it evaluates the weights. */
  readonly weightStatistics: Map<string, WeightStatistics>;
  /** What `partition` found out; empty without a target. */
  readonly assignments: Assignment[];
}

/**
 * A rewrite of a module. It never changes the module it is given, and returns that same object when it has nothing to do.
 * Everything that one pass tells a later one is in the module: types, ops, annotations, metadata.
 */
export interface Pass {
  /** Stable, kebab-case. */
  readonly name: string;
  readonly description: string;
  run(module: Module, context: PassContext): Module | Promise<Module>;
}
