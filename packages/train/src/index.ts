export { parseTrainConfig } from './config.ts';
export { fieldsInstead, modelSchema, optimizationFields, scheduleConflict } from './config-parts.ts';
export type {
  DataFilesConfig,
  GeneratedDataConfig,
  ModelConfig,
  NewModelConfig,
  OptimizerConfig,
  ScheduleConfig,
  TrainConfig,
} from './config-types.ts';
export { type Batch, buildBatch } from './data/batch.ts';
export type { DataCursor } from './data/cursor.ts';
export type { TooLong } from './data/cut-segments.ts';
export { type BatchesOptions, Dataset, type DatasetStatistics, type TrainingBatch } from './data/dataset.ts';
export type { DatasetOptions } from './data/dataset-options.ts';
export type { ChatExample, CompletionExample, Example, Place, TextExample, TokenizedExample } from './data/example.ts';
export type { ExampleSource } from './data/example-source.ts';
export { crossEntropy, lossFunction, sumOverTokens } from './graph/loss.ts';
export { withMasters } from './graph/masters.ts';
export type { Objective, ObjectiveValues } from './graph/objective.ts';
export { type TrainingModule, type TrainingModuleOptions, trainingModule } from './graph/training-module.ts';
export type { QuantizationRecord, StepRecord } from './metrics/records.ts';
export { type AdafactorOptions, adafactor } from './optimizer/adafactor.ts';
export { type AdamWOptions, adamw } from './optimizer/adamw.ts';
export { clipByGlobalNorm, globalNorm, keepUnlessFinite } from './optimizer/clip.ts';
export { type MuonOptions, muon } from './optimizer/muon.ts';
export type { Optimizer, StepInputs, StepResults } from './optimizer/optimizer.ts';
export { type SgdOptions, sgd } from './optimizer/sgd.ts';
export { type ComparedRun, compareRuns, renderComparison } from './report/comparison.ts';
export { type Html, html } from './report/html.ts';
export { type LinePlot, linePlot } from './report/line-plot.ts';
export { numberText, percentText } from './report/number-text.ts';
export { page } from './report/page.ts';
export { phaseBars } from './report/phase-bars.ts';
export { type ReportedRun, renderRunReport } from './report/run-report.ts';
export { type Point, pointsOf, type Series, smooth } from './report/series.ts';
export type { RunSummary } from './report/summary.ts';
export { type Decay, type ScheduleOptions, schedule } from './schedule.ts';
export type { GenerationFunctions } from './trainer/compile-training.ts';
export { type LossBatch, lossInputs } from './trainer/loss-inputs.ts';
export { type MemoryItem, type MemoryPlan, type MemoryPlanOptions, planTrainingMemory } from './trainer/memory-plan.ts';
export { optimizerGroups } from './trainer/optimizer-config.ts';
export { trainingOptions } from './trainer/training-options.ts';
export {
  type StepOptions,
  type StepResult,
  TrainingSession,
  type TrainingSessionOptions,
  type TrainingTensor,
} from './trainer/training-session.ts';
