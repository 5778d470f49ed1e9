import { readFile } from 'node:fs/promises';
import type { ExecutorOptions, ExecutorRegistry, SessionProgress } from '@quaver/executor';
import { fileError } from '@quaver/ir/node';
import { QuaverError } from '@quaver/numerics';
import { builtInRecipes, isCompiled, type Module, type Recipe, recipeOf, registryWith } from '@quaver/sdk/node';
import { type Command, Option } from 'commander';
import { UsageError } from './report-error.ts';
import type { Run } from './run.ts';
import { positiveInteger } from './values.ts';

/** What commands that run a model take. */
export interface ModelFlags {
  readonly executor: string;
  readonly recipe?: string;
  readonly threads?: number;
  readonly reduction?: 'canonical' | 'fast';
}

export function withModelFlags(command: Command): Command {
  return command
    .option('--executor <id>', 'what runs the graph: cpu, reference, null, a file (./mine.js) or a package', 'cpu')
    .option('--recipe <name|file>', 'for a model that is not compiled: compile it in memory (default: bf16)')
    .option('--threads <count>', 'how many threads compute (default: QUAVER_THREADS, or every CPU)', positiveInteger)
    .addOption(
      new Option(
        '--reduction <order>',
        'the order of sums: canonical gives the same bits at any batch size, fast promises nothing (default: canonical)',
      ).choices(['canonical', 'fast']),
    );
}

/**
 * A recipe by its name, or from a JSON file.
 * @throws QuaverError `file-…`, `recipe-invalid`
 */
export async function readRecipe(nameOrFile: string): Promise<string | Recipe> {
  if (builtInRecipes.has(nameOrFile) || !/\.json$|[/\\]/.test(nameOrFile)) return nameOrFile;
  const text = await readFile(nameOrFile, 'utf8').catch((error) => Promise.reject(fileError(error, nameOrFile)));
  try {
    return JSON.parse(text) as Recipe;
  } catch (cause) {
    throw new QuaverError('recipe-invalid', `${nameOrFile}: this is not JSON: ${(cause as Error).message}`, {
      hint: 'See docs/recipes.md for the fields and their values.',
      where: { file: nameOrFile },
      cause,
    });
  }
}

/** Options for the SDK's session: executor and how it computes, recipe, signal and progress. */
export interface SessionFlags extends Pick<ExecutorOptions, 'threads' | 'reduction'> {
  readonly executor: string;
  readonly executors: ExecutorRegistry;
  readonly recipe: string | Recipe;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: SessionProgress) => void;
}

export async function sessionFlags(run: Run, module: Module, flags: ModelFlags): Promise<SessionFlags> {
  if (flags.recipe !== undefined && isCompiled(module)) {
    throw new UsageError(
      `the model is compiled already, with ${recipeOf(module)!.name}`,
      'Leave --recipe out, or give the imported model.',
    );
  }
  const { registry, id } = await registryWith(flags.executor);
  return {
    executor: id,
    executors: registry,
    recipe: await readRecipe(flags.recipe ?? 'bf16'),
    signal: run.signal,
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    ...(flags.reduction === undefined ? {} : { reduction: flags.reduction }),
    onProgress: ({ loadedBytes, totalBytes }) => run.progress.update('Loading', loadedBytes, totalBytes),
  };
}
