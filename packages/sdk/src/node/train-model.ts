import path from 'node:path';
import type { Executor } from '@quaver/executor';
import type { TrainConfig, TrainingSession } from '@quaver/train';
import { type TrainEvent, type TrainRunResult, trainRun } from '@quaver/train/node';
import { openExecutor } from './load-executor.ts';
import { saveModule } from './module-file.ts';
import { openTrainingModel } from './training-model.ts';

export interface TrainModelOptions {
  /** See `parseTrainConfig` of `@quaver/train`; to resume, what `readRunConfig` gives. */
  readonly config: TrainConfig;
  /** Where the run keeps its files: records, checkpoints, and in the end `model.qvr`. */
  readonly folder: string;
  /** Go on from the latest checkpoint in the folder. */
  readonly resume?: boolean;
  /** An executor by id (default `cpu`), or an open one, which then stays the caller's. */
  readonly executor?: string | Executor;
  readonly threads?: number;
  /** Stops after the step that is under way, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: TrainEvent) => void;
}

export type TrainModelResult = TrainRunResult & {
  /** The trained model, imported as it were: compile it with any recipe. Its weights are the f32 masters. */
  readonly model: string;
};

/**
 * Trains a model as a configuration says, and writes `model.qvr` into the run's folder.
 * @throws QuaverError `training-…`, `run-…`, `checkpoint-…`, `data-…`, `executor-…`, `aborted` after a checkpoint was saved
 */
export async function trainModel(options: TrainModelOptions): Promise<TrainModelResult> {
  const { config, folder, executor: wanted = 'cpu', threads, signal, resume, onEvent } = options;
  await using model = await openTrainingModel(config.model, signal);
  const executor =
    typeof wanted === 'string'
      ? await openExecutor(wanted, { ...(threads === undefined ? {} : { threads }), ...(signal ? { signal } : {}) })
      : wanted;
  const file = path.join(folder, 'model.qvr');
  try {
    const run = {
      ...{ config, folder, executor, module: model.module },
      ...(resume === undefined ? {} : { resume }),
      ...(signal ? { signal } : {}),
      ...(onEvent ? { onEvent } : {}),
    };
    const result = await trainRun(run, (session: TrainingSession) => saveModule(session.trainedModule(), file));
    return { ...result, model: file };
  } finally {
    if (typeof wanted === 'string') await executor[Symbol.asyncDispose]();
  }
}
