import type { Recipe } from '@quaver/compiler';
import { Tokenizer } from '@quaver/generate';
import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { type Diagnosis, diagnose } from '@quaver/rl';
import { compileModel } from '../compile-model.ts';
import { isCompiled } from '../recipe-of.ts';
import { openExecutor } from './load-executor.ts';

export interface DiagnoseModelOptions {
  /** Goes through both phases. */
  readonly text: string;
  /** How many of its tokens; default 128. */
  readonly tokens?: number;
  /** For a module that is not compiled; default `bf16`. */
  readonly recipe?: string | Recipe;
  /** `split`: generation adds in any order, as other engines do. */
  readonly mode?: 'unified' | 'split';
  /** What trains, and generates unless another one does; default `cpu`. */
  readonly executor?: string;
  readonly generationExecutor?: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/**
 * Names the nodes at which generation and training differ, by how much, and where it begins.
 * @throws QuaverError `recipe-unexpected` for a compiled module with a recipe, as `compileModel`, `openExecutor` and `diagnose`
 */
export async function diagnoseModel(source: Module, options: DiagnoseModelOptions): Promise<Diagnosis> {
  const { text, tokens: count = 128, recipe, mode, executor = 'cpu', generationExecutor = executor } = options;
  const shared = options.signal ? { signal: options.signal } : {};
  if (recipe !== undefined && isCompiled(source)) {
    throw new QuaverError('recipe-unexpected', `module '${source.name}' is compiled already`, {
      hint: 'Leave the recipe out, or give the imported model.',
      where: { module: source.name },
    });
  }
  const tokens = (await Tokenizer.fromModule(source)).encode(text).slice(0, count + 1);
  const module = isCompiled(source)
    ? source
    : (await compileModel(source, { recipe: recipe ?? 'bf16', ...shared })).module;
  const chosen = { ...shared, ...(options.threads === undefined ? {} : { threads: options.threads }) };
  await using training = await openExecutor(executor, chosen);
  await using generation = await openExecutor(generationExecutor, {
    ...chosen,
    ...(mode === 'split' ? { reduction: 'fast' as const } : {}),
  });
  return await diagnose({ ...shared, module, generation, training, tokens });
}
