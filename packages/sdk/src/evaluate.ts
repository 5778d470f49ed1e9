import { type AttentionPrecision, isUnified, type Recipe, rowInvariance, withKvCache } from '@quaver/compiler';
import {
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

export type CheckParityOptions = Omit<ParityOptions, 'kvCache'> & Omit<OpenSessionOptions, 'functions' | 'onProgress'>;

export interface CheckedParity {
  readonly report: ParityReport;
  /** Whether recipe and executor promise the same bits: both phases alike, and nothing that depends on other rows. */
  readonly promised: boolean;
  /** Why it does, or does not. */
  readonly why: string;
}

/**
 * Compares generation with training bit for bit, with the KV cache in BF16 and in FP8 (an f32 model has one of f32).
 * @throws QuaverError what compiling and the executor throw
 */
export async function checkParity(module: Module, options: CheckParityOptions = {}): Promise<CheckedParity> {
  const { tokens, seed, onProgress, ...sessionOptions } = options;
  const { signal } = options;
  const compiled = isCompiled(module)
    ? module
    : (await compileModel(module, { recipe: options.recipe ?? 'bf16', ...(signal ? { signal } : {}) })).module;
  const cases: ParityCase[] = [];
  let sameOrder = true;
  for (const kvCache of cachesToTry(compiled)) {
    const variant = await withKvCache(compiled, kvCache);
    await using model = await openSession(variant, sessionOptions);
    sameOrder = model.executor.capabilities.rowInvariant;
    const report = await parity(model.session, {
      kvCache,
      ...(tokens === undefined ? {} : { tokens }),
      ...(seed === undefined ? {} : { seed }),
      ...(signal ? { signal } : {}),
      ...(onProgress
        ? { onProgress: (progress) => onProgress({ ...progress, case: `${progress.case}, kv cache ${kvCache}` }) }
        : {}),
    });
    cases.push(...report.cases);
  }
  const recipe = recipeOf(compiled)!;
  return { report: mergeParity(cases), ...promiseOf(recipe, sameOrder) };
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
