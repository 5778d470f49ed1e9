/** @file Finds the checkpoints of a run and opens one; needs no lock, and may run beside a training. */
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Checkpoint, type CheckpointTensor, type JsonValue, openSafetensors } from '@quaver/formats';
import { fileError, openFileSource } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { hashBytes } from './hash-bytes.ts';
import { checkpointsFolder, parseFolderName, stepFolderName } from './layout.ts';
import { decodeManifest, type Manifest, manifestFile, type TensorFile, tensorFiles } from './manifest.ts';
import { describeDifference, type ModuleIdentity } from './module-identity.ts';

/** A complete checkpoint. */
export interface CheckpointInfo {
  readonly step: number;
  /** What `best` compares, the lower the better; left out by who saved it without. */
  readonly metric: number | undefined;
  readonly folder: string;
}

/** With the identity of what the tensors are for; the checkpoint must have the same. Left out: any will do. */
export interface OpenTrainingCheckpointOptions extends Partial<ModuleIdentity> {
  readonly signal?: AbortSignal;
}

/** A checkpoint whose every byte has been compared with its hash. */
export interface TrainingCheckpoint extends CheckpointInfo {
  readonly module: string;
  readonly json: JsonValue;
  /** Tensors are read from the file when asked for. */
  readonly parameters: ReadonlyMap<string, CheckpointTensor>;
  readonly state: ReadonlyMap<string, CheckpointTensor>;
  close(): Promise<void>;
}

/** A folder under `checkpoints`: complete, or with the reason why not. */
type Found = CheckpointInfo & { readonly problem?: QuaverError };

/**
 * The folders of finished saves, by ascending step. Damage that needs no reading of the tensors is found here: missing files, wrong sizes.
 * @throws QuaverError `file-not-permitted`, …
 */
async function scanCheckpoints(runFolder: string): Promise<readonly Found[]> {
  const parent = checkpointsFolder(runFolder);
  const names = await readdir(parent).catch((error) => {
    if (error.code === 'ENOENT') return [];
    throw fileError(parent, error);
  });
  const steps = names
    .map(parseFolderName)
    .filter((parsed) => parsed !== undefined && parsed.passing === undefined)
    .map((parsed) => parsed!.step)
    .sort((a, b) => a - b);
  const found: Found[] = [];
  for (const step of steps) {
    const folder = join(parent, stepFolderName(step));
    try {
      const { metric } = await readManifest(folder, step);
      found.push({ step, metric, folder });
    } catch (error) {
      if (!(error instanceof QuaverError)) throw error;
      if (await isThere(folder)) found.push({ step, metric: undefined, folder, problem: error });
    }
  }
  return found;
}

/** The complete checkpoints of a run, by ascending step; empty where there is none. */
export async function listCheckpoints(runFolder: string): Promise<readonly CheckpointInfo[]> {
  return (await scanCheckpoints(runFolder)).filter(({ problem }) => problem === undefined);
}

/**
 * The checkpoint with the most steps; `undefined` where there is none.
 * @throws QuaverError `checkpoint-incomplete`, `checkpoint-corrupt` when the last one is damaged: an older one would not be what was asked for
 */
export async function latestCheckpoint(runFolder: string): Promise<CheckpointInfo | undefined> {
  const found = await scanCheckpoints(runFolder);
  const last = found.at(-1);
  if (last?.problem === undefined) return last;
  const complete = found.findLast(({ problem }) => problem === undefined);
  const other = complete === undefined ? 'No other is complete.' : `Step ${complete.step} is complete.`;
  const { code, message, where } = last.problem;
  throw new QuaverError(code, message, {
    where,
    hint: `${other} Move ${last.folder} away to go on without it.`,
    cause: last.problem,
  });
}

/** The complete checkpoint with the lowest metric, the earlier of two; `undefined` where none has a number. */
export async function bestCheckpoint(runFolder: string): Promise<CheckpointInfo | undefined> {
  return byMetric(await listCheckpoints(runFolder))[0];
}

/** Those with a number to compare, the best first. */
export function byMetric<T extends CheckpointInfo>(checkpoints: readonly T[]): readonly T[] {
  return checkpoints
    .filter(({ metric }) => metric !== undefined && !Number.isNaN(metric))
    .sort((a, b) => (a.metric === b.metric ? a.step - b.step : a.metric! - b.metric!));
}

/**
 * Opens the checkpoint of a step after every byte of it was compared with its hash.
 * @throws QuaverError `checkpoint-not-found`, `checkpoint-incomplete` (a file is missing), `checkpoint-corrupt` (names the file),
 * `checkpoint-of-another-model`, `checkpoint-unknown-version`, `aborted`
 */
export async function openTrainingCheckpoint(
  runFolder: string,
  step: number,
  options: OpenTrainingCheckpointOptions = {},
): Promise<TrainingCheckpoint> {
  const folder = join(checkpointsFolder(runFolder), stepFolderName(step));
  if (!(await isThere(folder))) {
    const steps = (await listCheckpoints(runFolder)).map((checkpoint) => checkpoint.step).join(', ');
    throw new QuaverError('checkpoint-not-found', `${runFolder}: there is no checkpoint of step ${step}`, {
      where: { file: folder },
      hint: steps === '' ? 'The run has no checkpoint yet.' : `There are checkpoints of the steps ${steps}.`,
    });
  }
  const manifest = await readManifest(folder, step);
  const { metric, module, state: json } = manifest;
  if (options.module !== undefined && module !== options.module) throw ofAnother(folder, manifest, options);
  const parameters = await openVerified(folder, tensorFiles.parameters, manifest, options.signal);
  try {
    const state = await openVerified(folder, tensorFiles.state, manifest, options.signal);
    const close = async () => {
      await Promise.all([parameters.close(), state.close()]);
    };
    return { step, metric, folder, module, json, parameters: parameters.tensors, state: state.tensors, close };
  } catch (error) {
    await parameters.close();
    throw error;
  }
}

function ofAnother(folder: string, { module, moduleParts }: Manifest, expected: Partial<ModuleIdentity>): QuaverError {
  const difference =
    describeDifference(moduleParts, expected.parts) ?? `belongs to the model ${module}, expected ${expected.module}`;
  return new QuaverError('checkpoint-of-another-model', `${folder}: ${difference}`, {
    where: { file: folder },
    hint: 'Resume with the model and the configuration that the run was started with.',
  });
}

/** The manifest, after the files that it names were found with their sizes. */
async function readManifest(folder: string, step: number): Promise<Manifest> {
  const file = join(folder, manifestFile);
  const bytes = await readFile(file).catch((error) => Promise.reject(missing(folder, manifestFile, error)));
  const manifest = decodeManifest(file, bytes);
  if (manifest.step !== step) throw corrupt(file, `says step ${manifest.step}, its folder says ${step}`);
  for (const [name, { bytes }] of Object.entries(manifest.files)) {
    const path = join(folder, name);
    const { size } = await stat(path).catch((error) => Promise.reject(missing(folder, name, error)));
    if (size !== bytes) throw corrupt(path, `expected ${bytes} bytes, found ${size}`);
  }
  return manifest;
}

/** Opened first and hashed through the same handle, so that what is read later is what was hashed. */
async function openVerified(
  folder: string,
  name: TensorFile,
  { files }: Manifest,
  signal: AbortSignal | undefined,
): Promise<Checkpoint> {
  const path = join(folder, name);
  const source = await openFileSource(path);
  try {
    const hash = createHash('sha256');
    for (let at = 0; at < source.size; at += hashedBytes) {
      hashBytes(hash, await source.read(at, Math.min(hashedBytes, source.size - at), signal));
    }
    const [expected, found] = [files[name].sha256, hash.digest('hex')];
    if (found !== expected) throw corrupt(path, `expected the sha256 ${expected}, found ${found}`);
    return await openSafetensors(source, signal);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Read at once while hashing. */
const hashedBytes = 8 << 20;

async function isThere(folder: string): Promise<boolean> {
  return stat(folder).then(
    () => true,
    () => false,
  );
}

function missing(folder: string, name: string, error: NodeJS.ErrnoException): unknown {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') return fileError(join(folder, name), error);
  return new QuaverError('checkpoint-incomplete', `${folder}: has no ${name}`, {
    where: { file: join(folder, name) },
    hint: 'Something removed the file, or the folder was copied only in part: resume from another checkpoint.',
  });
}

function corrupt(file: string, problem: string): QuaverError {
  return new QuaverError('checkpoint-corrupt', `${file}: ${problem}`, {
    where: { file },
    hint: 'The file was damaged after it was written: resume from another checkpoint of the run.',
  });
}
