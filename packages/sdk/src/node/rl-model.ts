import path from 'node:path';
import type { Executor } from '@quaver/executor';
import type { RlConfig, RlEvent, RlRunResult } from '@quaver/rl';
import { openTask, rlRun } from '@quaver/rl/node';
import type { TrainingSession } from '@quaver/train';
import { openExecutor } from './load-executor.ts';
import { saveModule } from './module-file.ts';
import { openTrainingModel } from './training-model.ts';

export interface RlModelOptions {
  /** See `parseRlConfig` of `@quaver/rl`; to resume, what `readRlConfig` gives. */
  readonly config: RlConfig;
  /** Where the run keeps its files: records, checkpoints, and in the end `model.qvr`. */
  readonly folder: string;
  /** Go on from the latest checkpoint in the folder. */
  readonly resume?: boolean;
  /** An executor by id (default `cpu`). In split mode it is opened twice: to train, and to generate with sums in any order. */
  readonly executor?: string;
  readonly threads?: number;
  /** Stops after the step that is under way, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RlEvent) => void;
}

export type RlModelResult = RlRunResult & {
  /** The trained model, imported as it were: compile it with any recipe. Its weights are the f32 masters. */
  readonly model: string;
};

/**
 * Improves a model by reinforcement learning as a configuration says, and writes `model.qvr` into the run's folder.
 * @throws QuaverError `rl-…`, `training-…`, `run-…`, `checkpoint-…`, `executor-…`, `aborted` after a checkpoint was saved
 */
export async function rlModel(options: RlModelOptions): Promise<RlModelResult> {
  const { config, folder, executor: id = 'cpu', threads, signal, resume, onEvent } = options;
  await using task = await openTask(config);
  await using model = await openTrainingModel(config.model, signal);
  const chosen = { ...(threads === undefined ? {} : { threads }), ...(signal ? { signal } : {}) };
  await using executor = await openExecutor(id, chosen);
  await using generating = await openSplit(config, () => openExecutor(id, { ...chosen, reduction: 'fast' }));
  const file = path.join(folder, 'model.qvr');
  const result = await rlRun(
    {
      ...{
        config,
        folder,
        task,
        executor,
        module: model.module,
        generationExecutor: generating?.executor,
        signal,
        onEvent,
      },
      ...(resume === undefined ? {} : { resume }),
    },
    (session: TrainingSession) => saveModule(session.trainedModule(), file),
  );
  return { ...result, model: file };
}

async function openSplit(
  { mode }: RlConfig,
  open: () => Promise<Executor>,
): Promise<({ readonly executor: Executor } & AsyncDisposable) | undefined> {
  if (mode !== 'split') return undefined;
  const executor = await open();
  return { executor, [Symbol.asyncDispose]: () => executor[Symbol.asyncDispose]() };
}
