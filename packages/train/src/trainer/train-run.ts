/** @file A training run in a folder: steps, evaluations, checkpoints, records. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@quaver/generate';
import { QuaverError } from '@quaver/numerics';
import { type ModuleIdentity, moduleIdentity } from '../checkpoint/module-identity.ts';
import { lockRunFolder, type RunLock } from '../checkpoint/run-lock.ts';
import { CheckpointStore } from '../checkpoint/store.ts';
import type { Dataset } from '../data/dataset.ts';
import { generateData } from '../data/node/generate-data.ts';
import { openDataset } from '../data/node/open-dataset.ts';
import { openRunWriter } from '../metrics/run-writer.ts';
import { writeRunReport } from '../report/write-report.ts';
import { checkpointToResume, restoreRun } from './restore-run.ts';
import { checkUnused, clearLeftovers, readRunConfig, reportFile, saveConfig, trainRuns } from './run-folder.ts';
import { freshRunState } from './run-state.ts';
import type { TrainRunOptions, TrainRunResult } from './run-types.ts';
import { TrainLoop } from './train-loop.ts';
import { checkContext, trainingOptions } from './training-options.ts';
import { TrainingSession } from './training-session.ts';

/** Ends what was opened, the last first. */
type CleanUp = (() => Promise<void>)[];

/**
 * Trains to the end, or until the signal.
 * @param finish called with the trained session before it is closed: to save the model, for example
 * @throws QuaverError `aborted` after a checkpoint was saved, `training-diverged`, `weights-not-finite`, `run-…`, `checkpoint-…`,
 *   `data-…`, `training-…`, and what sessions throw
 */
export async function trainRun(
  options: TrainRunOptions,
  finish?: (session: TrainingSession) => Promise<void>,
): Promise<TrainRunResult> {
  await checkFolder(options);
  const lock = await lockRunFolder(options.folder);
  const cleanUp: CleanUp = [() => lock.release()];
  let result: TrainRunResult;
  try {
    result = await trainLocked(options, lock, cleanUp, finish);
  } catch (error) {
    // What went wrong first is what counts.
    await endAll(cleanUp).catch(() => undefined);
    throw error;
  }
  await endAll(cleanUp);
  return result;
}

async function trainLocked(
  options: TrainRunOptions,
  lock: RunLock,
  cleanUp: CleanUp,
  finish: ((session: TrainingSession) => Promise<void>) | undefined,
): Promise<TrainRunResult> {
  const { folder, config, resume = false } = options;
  if (resume) await clearLeftovers(lock);
  else {
    await checkUnused(folder, trainRuns);
    await saveConfig(lock, config);
  }
  const store = await CheckpointStore.open(lock, {
    ...identityOf(options),
    keepLast: config.checkpoint.keep_last,
    keepBest: config.checkpoint.keep_best,
  });
  const checkpoint = resume ? await checkpointToResume(store, config) : undefined;
  const dataset = await openData(options);
  cleanUp.push(() => dataset.close());
  const session = await openSession(options);
  cleanUp.push(() => session[Symbol.asyncDispose]());
  const state = checkpoint ? await restoreRun(checkpoint, { store, session, dataset }, folder) : freshRunState;
  // Last: records of steps after the checkpoint are cut off only when it is sure that they will be written again.
  const writer = await openRunWriter(lock, resume ? { resumeAt: state.step } : {});
  cleanUp.push(() => writer.close());
  const result = await new TrainLoop(options, { dataset, session, store, writer }, state).run();
  await writeRunReport(folder, join(folder, reportFile));
  await finish?.(session);
  return result;
}

/** Ends everything, also after one has failed. @throws the first failure */
async function endAll(cleanUp: CleanUp): Promise<void> {
  const failures: unknown[] = [];
  for (const end of cleanUp.reverse()) await end().catch((error) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** @throws QuaverError `run-not-found`, `run-not-a-run`, `train-config-invalid` */
async function checkFolder({ folder, resume = false }: TrainRunOptions): Promise<void> {
  if (resume) {
    await readRunConfig(folder);
    return;
  }
  const stats = await stat(folder).catch(() => undefined);
  if (!stats || stats.isDirectory()) return;
  throw new QuaverError('run-not-a-run', `${folder}: is a file, not a folder`, {
    where: { file: folder },
    hint: 'Choose another folder for the new run.',
  });
}

/** Identifies the tensors of a run: a checkpoint goes with one model, optimizer and recipe. */
function identityOf({ module, config }: TrainRunOptions): ModuleIdentity {
  const { optimizer, no_weight_decay, frozen, recipe } = config;
  return moduleIdentity(module, { optimizer, no_weight_decay, frozen, recipe });
}

async function openData({ config, folder, module, signal, onEvent }: TrainRunOptions): Promise<Dataset> {
  const { batch, seed } = config;
  checkContext(batch.tokens, module);
  const data = 'files' in config.data ? config.data : await generateData(config.data, folder, signal);
  const { separator, format, validation } = data;
  return openDataset({
    files: data.files,
    tokenizer: await Tokenizer.fromModule(module),
    rowTokens: batch.tokens,
    batchRows: batch.rows,
    align: data.align,
    tooLong: data.too_long,
    seed,
    ...(format === undefined ? {} : { format }),
    ...(separator === undefined ? {} : { separator }),
    ...(validation === undefined ? {} : { validation }),
    ...(signal ? { signal } : {}),
    onProgress: (progress) => onEvent?.(progress),
  });
}

async function openSession({ config, module, executor, signal, onEvent }: TrainRunOptions): Promise<TrainingSession> {
  return TrainingSession.open(module, executor, {
    ...trainingOptions(config, module),
    seed: config.seed,
    signal,
    onProgress: onEvent,
  });
}
