import { type AttentionPrecision, isUnified, type Recipe, rowInvariance, withKvCache } from '@quaver/compiler';
import {
  type LeftOutCase,
  mergeParity,
  type ParityCase,
  type ParityOptions,
  type ParityReport,
  type Perplexity,
  type PerplexityOptions,
  parity,
  perplexity,
} from '@quaver/generate';
import type { Module } from '@quaver/ir';
import { compileModel } from './compile-model.ts';
import { type ModelSession, type OpenSessionOptions, openSession } from './model-session.ts';
import { isCompiled, recipeOf } from './recipe-of.ts';
import { openTrainingPaths, trainingCases, whyNoTraining } from './training-paths.ts';

/**
 * Perplexity of a text under a model's generation functions; windows do not overlap.
 * @throws QuaverError `text-too-short`, `tokenizer-missing`, `aborted`
 */
export async function evaluatePerplexity(
  model: ModelSession,
  text: string,
  options: PerplexityOptions = {},
): Promise<Perplexity> {
  const tokenizer = await model.tokenizer();
  return perplexity(model.session, tokenizer.encode(text), options);
}

export type CheckParityOptions = Omit<ParityOptions, 'kvCache' | 'others'> &
  Omit<OpenSessionOptions, 'functions' | 'onProgress'> & {
    /** Whether to run the functions of a training step too, which need an imported model and f32 masters in memory; default true. */
    readonly training?: boolean;
  };

export interface CheckedParity {
  readonly report: ParityReport;
  /** Whether recipe and executor promise the same bits: both phases alike, and nothing that depends on other rows. */
  readonly promised: boolean;
  /** Why it does, or does not. */
  readonly why: string;
}

/**
 * Compares generation with training bit for bit, with the KV cache in BF16 and in FP8 (an f32 model has one of f32). For an imported
 * model the functions of a training step are built and compared too; a report says which cases were left out, and why.
 * @throws QuaverError what compiling and the executor throw
 */
export async function checkParity(module: Module, options: CheckParityOptions = {}): Promise<CheckedParity> {
  const { tokens, seed, onProgress, training = true, ...sessionOptions } = options;
  const { signal } = options;
  const compiled = isCompiled(module)
    ? module
    : (await compileModel(module, { recipe: options.recipe ?? 'bf16', ...(signal ? { signal } : {}) })).module;
  const noTraining = whyLeftOut(module, training);
  const cases: ParityCase[] = [];
  const leftOut: LeftOutCase[] = [];
  let sameOrder = true;
  for (const kvCache of cachesToTry(compiled)) {
    const variant = await withKvCache(compiled, kvCache);
    await using model = await openSession(variant, sessionOptions);
    sameOrder = model.executor.capabilities.rowInvariant;
    const recipe = recipeOf(variant)!;
    await using steps =
      noTraining === undefined ? await openTrainingPaths(module, model.executor, recipe, signal) : undefined;
    const report = await parity(model.session, {
      kvCache,
      others: steps?.paths ?? [],
      ...(tokens === undefined ? {} : { tokens }),
      ...(seed === undefined ? {} : { seed }),
      ...(signal ? { signal } : {}),
      ...(onProgress
        ? { onProgress: (progress) => onProgress({ ...progress, case: `${progress.case}, kv cache ${kvCache}` }) }
        : {}),
    });
    cases.push(...report.cases);
    leftOut.push(...report.left_out);
    if (noTraining === undefined) continue;
    for (const name of trainingCases) leftOut.push({ name, kv_cache: kvCache, reason: noTraining });
  }
  const recipe = recipeOf(compiled)!;
  return { report: mergeParity(cases, leftOut), ...promiseOf(recipe, sameOrder) };
}

/** Why there is no training step to compare with; undefined when there is one. */
function whyLeftOut(module: Module, wanted: boolean): string | undefined {
  if (!wanted) return 'it was not asked for';
  if (isCompiled(module)) return 'the model is compiled: the weights that training needs are not in it';
  return whyNoTraining(module);
}

function promiseOf(recipe: Recipe, sameOrder: boolean): Pick<CheckedParity, 'promised' | 'why'> {
  if (!isUnified(recipe)) {
    return { promised: false, why: 'generation and training have different precisions in this recipe' };
  }
  const { rowInvariant, why } = rowInvariance(recipe, ['generate', 'train']);
  if (rowInvariant && !sameOrder) {
    return { promised: false, why: 'the executor adds in an order that depends on the batch' };
  }
  return { promised: rowInvariant, why };
}

/** An f32 model has an f32 cache only. */
function cachesToTry(module: Module): AttentionPrecision[] {
  return recipeOf(module)!.generate.attention === 'f32' ? ['f32'] : ['bf16', 'fp8'];
}
