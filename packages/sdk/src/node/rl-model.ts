import path from 'node:path';
import type { Executor } from '@quaver/executor';
import type { Module } from '@quaver/ir';
import type { RlConfig, RlEvent, RlRunResult, RlTask } from '@quaver/rl';
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
 * Improves a model by reinforcement learning as a configuration says, and writes `model.qvr` into the run's folder. Where the
 * executor is lost the run goes on with a new one from its latest checkpoint, and ends with the same bits.
 * @throws QuaverError `rl-…`, `training-…`, `run-…`, `checkpoint-…`, `executor-…`, `aborted` after a checkpoint was saved; that of
 *   the executor when it is lost twice without a step in between
 */
export async function rlModel(options: RlModelOptions): Promise<RlModelResult> {
  const { config, signal } = options;
  await using task = await openTask(config);
  await using model = await openTrainingModel(config.model, signal);
  let { resume = false } = options;
  let step = 0;
  let mayReopen = true;
  const onEvent = (event: RlEvent) => {
    if (event.phase === 'step') {
      step = event.record.step;
      mayReopen = true;
    }
    options.onEvent?.(event);
  };
  for (;;) {
    const devices = new Devices();
    try {
      return await runOn(devices, { ...options, resume, onEvent }, task, model.module);
    } catch (error) {
      const reason = await devices.lost();
      if (reason === undefined || signal?.aborted || !mayReopen) throw error;
      mayReopen = false;
      resume = true;
      onEvent({ phase: 'lost', step, reason });
    }
  }
}

async function runOn(
  devices: Devices,
  { config, folder, executor: id = 'cpu', threads, signal, resume = false, onEvent }: RlModelOptions,
  task: RlTask,
  module: Module,
): Promise<RlModelResult> {
  const chosen = { ...(threads === undefined ? {} : { threads }), ...(signal ? { signal } : {}) };
  await using executor = devices.watch(await openExecutor(id, chosen));
  // Split: another one generates, and adds in any order.
  await using generating =
    config.mode === 'split' ? devices.watch(await openExecutor(id, { ...chosen, reduction: 'fast' })) : null;
  const file = path.join(folder, 'model.qvr');
  const result = await rlRun(
    {
      ...{ config, folder, task, module, executor, resume, signal, onEvent },
      generationExecutor: generating ?? undefined,
    },
    (session: TrainingSession) => saveModule(session.trainedModule(), file),
  );
  return { ...result, model: file };
}

/** Executors of which it is remembered that they were lost. */
class Devices {
  #reason: string | undefined;

  watch(executor: Executor): Executor {
    executor.lost.then(({ reason }) => {
      this.#reason ??= reason;
    });
    return executor;
  }

  /** Why one of them was lost; undefined where none was. */
  async lost(): Promise<string | undefined> {
    // A call that failed may be seen before the loss that made it fail.
    await new Promise((resolve) => setImmediate(resolve));
    return this.#reason;
  }
}
