export { parametersSha256 } from './checkpoint/hash-bytes.ts';
export {
  describeDifference,
  type IdentityParts,
  type ModuleIdentity,
  moduleIdentity,
} from './checkpoint/module-identity.ts';
export {
  bestCheckpoint,
  type CheckpointInfo,
  latestCheckpoint,
  listCheckpoints,
  type OpenTrainingCheckpointOptions,
  openTrainingCheckpoint,
  type TrainingCheckpoint,
} from './checkpoint/read-checkpoint.ts';
export { lockRunFolder, type RunLock } from './checkpoint/run-lock.ts';
export { CheckpointStore, type CheckpointStoreOptions } from './checkpoint/store.ts';
export type { CheckpointToSave } from './checkpoint/write-checkpoint.ts';
export { checkDataFiles } from './data/node/check-files.ts';
export type { IndexProgress } from './data/node/file-examples.ts';
export { type OpenDatasetOptions, openDataset } from './data/node/open-dataset.ts';
export { type RunRecords, readRun } from './metrics/read-run.ts';
export { openRunWriter, type RunWriter, type RunWriterOptions } from './metrics/run-writer.ts';
export { writeComparison, writeRunReport } from './report/write-report.ts';
export { checkpointToResume, restoreSession } from './trainer/restore-run.ts';
export {
  checkUnused,
  clearLeftovers,
  type RunKind,
  readConfig,
  readRunConfig,
  reportFile,
  saveConfig,
} from './trainer/run-folder.ts';
export type { TrainEvent, TrainRunOptions, TrainRunResult } from './trainer/run-types.ts';
export { trainRun } from './trainer/train-run.ts';
