export { builtInRecipes, defaultRecipe, type Recipe } from '@quaver/compiler';
export type { Executor, ExecutorPlugin } from '@quaver/executor';
export type {
  ChatMessage,
  GenerateEvent,
  GenerateResult,
  ParityReport,
  Perplexity,
  SamplingOptions,
  StopReason,
} from '@quaver/generate';
export type { Module } from '@quaver/ir';
export { QuaverError } from '@quaver/numerics';
export { type CompileModelOptions, compileModel } from './compile-model.ts';
export { type CheckedParity, type CheckParityOptions, checkParity, evaluatePerplexity } from './evaluate.ts';
export { defaultExecutor, executorRegistry } from './executors.ts';
export { generateText, streamText, type TextPrompt, type TextRequest } from './generate-text.ts';
export { ModelSession, type OpenSessionOptions, openSession } from './model-session.ts';
export { isCompiled, recipeOf } from './recipe-of.ts';
