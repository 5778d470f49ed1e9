/** @file The files of a run that the trainer itself keeps: its configuration, and what a new run may begin in. */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError, writeFileAtomically } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { checkpointsFolder } from '../checkpoint/layout.ts';
import type { RunLock } from '../checkpoint/run-lock.ts';
import { parseTrainConfig } from '../config.ts';
import type { TrainConfig } from '../config-types.ts';
import { metricsFile } from '../metrics/run-files.ts';

const configFile = 'config.json';
export const reportFile = 'report.html';

/** What differs between kinds of runs: their configuration, and the command that goes on with one. */
export interface RunKind<Config> {
  /** @throws QuaverError of `invalid` */
  readonly parse: (source: unknown) => Config;
  /** The code of the error that tells of a configuration that is not valid. */
  readonly invalid: string;
  readonly resume: string;
}

export const trainRuns: RunKind<TrainConfig> = {
  parse: parseTrainConfig,
  invalid: 'train-config-invalid',
  resume: 'quaver train --resume',
};

/**
 * The configuration that a training run was started with.
 * @throws QuaverError as `readConfig`
 */
export function readRunConfig(folder: string): Promise<TrainConfig> {
  return readConfig(folder, trainRuns);
}

/**
 * The configuration that a run was started with.
 * @throws QuaverError `run-not-found`, `run-not-a-run` for a folder or file that no such run wrote, that of the kind, `file-…`
 */
export async function readConfig<Config>(folder: string, kind: RunKind<Config>): Promise<Config> {
  const file = join(folder, configFile);
  const text = await readFile(file, 'utf8').catch(async (error) => Promise.reject(await noConfig(folder, file, error)));
  try {
    return kind.parse(JSON.parse(text));
  } catch (cause) {
    if (!(cause instanceof QuaverError)) {
      throw new QuaverError(kind.invalid, `${file}: this is not JSON: ${(cause as Error).message}`, {
        where: { file },
        hint: runHint,
        cause,
      });
    }
    throw new QuaverError(cause.code, `${file}: ${cause.message}`, { where: { file }, hint: runHint, cause });
  }
}

const runHint = 'Give the folder that the training was told to write to (--out).';

async function noConfig(folder: string, file: string, error: NodeJS.ErrnoException): Promise<unknown> {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') return fileError(file, error);
  const stats = await stat(folder).catch(() => undefined);
  const where = { file: folder };
  if (!stats)
    return new QuaverError('run-not-found', `${folder}: there is no such run folder`, { where, hint: runHint });
  const problem = stats.isDirectory() ? `has no ${configFile}` : 'is a file, not a folder';
  return new QuaverError('run-not-a-run', `${folder}: ${problem}`, { where, hint: runHint });
}

/**
 * Whether a new run may begin here: nothing that it would write is there, or only what a run left that ended before its first step.
 * @throws QuaverError `run-folder-not-empty`
 */
export async function checkUnused<Config>(folder: string, kind: RunKind<Config>): Promise<void> {
  const taken = await firstTaken(folder, kind);
  if (taken === undefined) return;
  throw new QuaverError('run-folder-not-empty', `${folder}: holds ${taken} already`, {
    where: { file: join(folder, taken) },
    hint: `Choose another folder for the new run, or go on with the one that is there: ${kind.resume} ${folder}`,
  });
}

async function firstTaken<Config>(folder: string, kind: RunKind<Config>): Promise<string | undefined> {
  const { size } = await stat(join(folder, metricsFile)).catch(() => ({ size: 0 }));
  if (size > 0) return metricsFile;
  if ((await readdir(checkpointsFolder(folder)).catch(() => [])).length > 0) return 'checkpoints';
  const names = new Set(await readdir(folder));
  if (names.has(configFile)) {
    // Any other file of that name, such as a model's, is somebody's.
    if (await isInterruptedStart(folder, kind)) return undefined;
    return configFile;
  }
  return ['model.qvr', reportFile, 'data'].find((name) => names.has(name));
}

async function isInterruptedStart<Config>(folder: string, kind: RunKind<Config>): Promise<boolean> {
  return readConfig(folder, kind).then(
    () => true,
    () => false,
  );
}

/** @throws QuaverError `disk-full`, `file-…` */
export async function saveConfig(lock: RunLock, config: object): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(config, undefined, 2)}\n`);
  const chunks = async function* () {
    yield bytes;
  };
  await writeFileAtomically(join(lock.folder, configFile), chunks(), bytes.byteLength);
}

/** What writers that were killed left beside their files. */
const leftover =
  /^(\.model\.qvr\.[0-9a-f]{12}\.tmp|(config\.json|report\.html|train\.jsonl|validation\.jsonl)\.[0-9a-f]{12}\.partial)$/;

/** Deletes half-written files of a run whose process was killed; only who holds the lock may. */
export async function clearLeftovers({ folder }: RunLock): Promise<void> {
  for (const parent of [folder, join(folder, 'data')]) {
    const names = await readdir(parent).catch(() => []);
    for (const name of names) if (leftover.test(name)) await rm(join(parent, name), { force: true });
  }
}
