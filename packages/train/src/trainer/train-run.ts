/** @file A training run in a folder: steps, evaluations, checkpoints, records. */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Recipe } from '@quaver/compiler';
import { fileError, writeFileAtomically } from '@quaver/formats/node';
import { Tokenizer } from '@quaver/generate';
import { QuaverError } from '@quaver/numerics';
import { latestCheckpoint, openTrainingCheckpoint } from '../checkpoint/read-checkpoint.ts';
import { lockRunFolder, type RunLock } from '../checkpoint/run-lock.ts';
import { CheckpointStore } from '../checkpoint/store.ts';
import { parseTrainConfig, type TrainConfig } from '../config.ts';
import type { Dataset } from '../data/dataset.ts';
import { generateData } from '../data/node/generate-data.ts';
import { openDataset } from '../data/node/open-dataset.ts';
import { openRunWriter } from '../metrics/run-writer.ts';
import { writeRunReport } from '../report/write-report.ts';
import { optimizerGroups } from './optimizer-config.ts';
import type { TrainRunOptions, TrainRunResult } from './run-types.ts';
import { TrainLoop } from './train-loop.ts';
import { TrainingSession } from './training-session.ts';

const configFile = 'config.json';
const reportFile = 'report.html';

/** The configuration that a run was started with. @throws QuaverError `file-…`, `train-config-invalid` */
export async function readRunConfig(folder: string): Promise<TrainConfig> {
  const file = join(folder, configFile);
  const text = await readFile(file, 'utf8').catch((error) => Promise.reject(fileError(file, error)));
  try {
    return parseTrainConfig(JSON.parse(text));
  } catch (cause) {
    if (cause instanceof QuaverError) throw cause;
    throw new QuaverError('train-config-invalid', `${file}: this is not JSON`, { where: { file }, cause });
  }
}

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
  const { folder, config } = options;
  if (!options.resume)
    await mkdir(folder, { recursive: true }).catch((error) => Promise.reject(fileError(folder, error)));
  const lock = await lockRunFolder(folder);
  const cleanUp: (() => Promise<void>)[] = [() => lock.release()];
  try {
    const start = options.resume ? await lastState(folder, moduleDigest(options)) : undefined;
    const writer = await openRunWriter(lock, options.resume ? { resumeAt: start?.step ?? 0 } : {});
    cleanUp.push(() => writer.close());
    if (!options.resume) await saveConfig(lock, config);
    const dataset = await openData(options);
    cleanUp.push(() => dataset.close());
    const session = await openSession(options);
    cleanUp.push(() => session[Symbol.asyncDispose]());
    const store = await CheckpointStore.open(lock, {
      module: moduleDigest(options),
      keepLast: config.checkpoint.keep_last,
      keepBest: config.checkpoint.keep_best,
    });
    const loop = new TrainLoop(options, { dataset, session, store, writer });
    if (start) await loop.restore(start.step);
    const result = await loop.run();
    await writeRunReport(folder, join(folder, reportFile));
    await finish?.(session);
    return result;
  } finally {
    for (const step of cleanUp.reverse()) await step();
  }
}

/** Identifies the tensors of a run: a checkpoint goes with one model, optimizer and recipe. */
function moduleDigest({ module, config }: TrainRunOptions): string {
  const parameters = module.parameters.map(({ name, type, trainable }) => [name, type.shape, trainable]);
  const { optimizer, no_weight_decay, frozen, recipe } = config;
  const text = JSON.stringify([module.name, parameters, optimizer, no_weight_decay, frozen, recipe]);
  return createHash('sha256').update(text).digest('hex');
}

/** The step of the latest checkpoint; undefined for a run that was interrupted before its first one. */
async function lastState(folder: string, module: string): Promise<{ readonly step: number } | undefined> {
  const latest = await latestCheckpoint(folder);
  if (!latest) return undefined;
  const checkpoint = await openTrainingCheckpoint(folder, latest.step, { module });
  await checkpoint.close();
  return { step: latest.step };
}

async function saveConfig(lock: RunLock, config: TrainConfig): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(config, undefined, 2)}\n`);
  await writeFileAtomically(
    join(lock.folder, configFile),
    (async function* () {
      yield bytes;
    })(),
    bytes.byteLength,
  );
}

async function openData({ config, folder, module, signal, onEvent }: TrainRunOptions): Promise<Dataset> {
  const { batch, seed } = config;
  const context = module.symbols.find(({ name }) => name === 'T')?.max ?? Number.POSITIVE_INFINITY;
  if (batch.tokens > context) {
    throw new QuaverError(
      'training-too-long',
      `rows of ${batch.tokens} tokens, but the model was made for a context of ${context}`,
      { hint: `Choose batch.tokens up to ${context}, or import the model with a longer context.` },
    );
  }
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
    recipe: config.recipe as string | Recipe,
    optimizer: optimizerGroups(config.optimizer, config.no_weight_decay, config.frozen),
    maxGradientNorm: config.max_grad_norm ?? undefined,
    remat: config.remat,
    signal,
    onProgress: onEvent,
  });
}
