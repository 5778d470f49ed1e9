/** @file The entry for Node: everything of `@quaver/sdk`, and what needs files and processes. */
export { cacheFolder, type PullOptions, type PullProgress, type PullResult, pullModel } from '@quaver/models/hub';
export * from './index.ts';
export {
  type CheckpointModel,
  type CheckpointModelOptions,
  openCheckpointModel,
  type WhichCheckpoint,
} from './node/checkpoint-model.ts';
export { type ExportBf16Options, type ExportBf16Result, exportHfBf16 } from './node/export-hf-bf16.ts';
export { type ExportResult, exportHfFp8 } from './node/export-hf-fp8.ts';
export type { ExportOptions } from './node/hugging-face-parts.ts';
export { type ImportedModelFile, type ImportModelFileOptions, importModelFile } from './node/import-model-file.ts';
export { openExecutor, registryWith } from './node/load-executor.ts';
export { type ModuleFile, readModule, type SaveModuleOptions, saveModule } from './node/module-file.ts';
export { type PlanTrainingOptions, planTraining, type TrainingPlan } from './node/plan-training.ts';
export { compareRl, type RlComparison, type RlComparisonOptions } from './node/rl-comparison.ts';
export { type DiagnoseModelOptions, diagnoseModel } from './node/rl-diagnosis.ts';
export { type RlModelOptions, type RlModelResult, rlModel } from './node/rl-model.ts';
export { type TrainModelOptions, type TrainModelResult, trainModel } from './node/train-model.ts';
export { openTrainingModel, type TrainingModel } from './node/training-model.ts';
