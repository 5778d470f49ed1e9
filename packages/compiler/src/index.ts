export { type DifferentiateOptions, differentiate, gradientOutput } from './autodiff/differentiate.ts';
export { type GradientProduct, layerLocation, readGradientProduct } from './autodiff/gradient-marks.ts';
export { type RematPolicy, rematPolicies } from './autodiff/recompute.ts';
export { type CompileOptions, type CompileResult, compile } from './compile.ts';
export {
  type MeasuredTensor,
  measureQuantization,
  type QuantizationMeasure,
  quantizationOutput,
} from './diagnostics/measure-quantization.ts';
export { quantizeWeightsName } from './folding/recompute-folded.ts';
export type { WeightStatistics } from './folding/weight-statistics.ts';
export { roundingSeedState } from './lowering/gradient-rounding.ts';
export { recipeStates } from './lowering/recipe-states.ts';
export { shiftAmaxHistories } from './lowering/shift-amax-histories.ts';
export type { CompileProgress, CompileTarget, Pass, PassContext } from './pass.ts';
export { passes } from './passes/index.ts';
export { builtInRecipes, defaultRecipe } from './recipe/built-in.ts';
export { describeIssues } from './recipe/describe-issues.ts';
export { globPattern } from './recipe/keep-rules.ts';
export { parseRecipe } from './recipe/parse-recipe.ts';
export {
  type AmaxHistory,
  type AttentionPrecision,
  describeLinear,
  type Granularity,
  type HighPrecision,
  isUnified,
  type KeepRule,
  type LinearPrecision,
  type OperandChanges,
  type Phase,
  type PhasePrecision,
  type Quantization,
  type QuantizedLinear,
  type Recipe,
} from './recipe/recipe.ts';
export { resolveRecipe, withOptions } from './recipe/resolve-recipe.ts';
export { type RowInvariance, rowInvariance } from './recipe/row-invariance.ts';
export type { RecipeOptions } from './recipe/with-options.ts';
export type { Assignment } from './report/assignment.ts';
export { formatReport } from './report/format-report.ts';
export type {
  AttentionReport,
  ByteReport,
  CompileReport,
  KeptReport,
  LinearReport,
  NotLoweredReport,
  PassRecord,
  WeightBytes,
} from './report/report.ts';
export { withKvCache } from './with-kv-cache.ts';
