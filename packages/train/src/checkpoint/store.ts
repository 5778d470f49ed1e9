/** @file The checkpoints of a run that is being trained: saves, and keeps as many as were asked for. */
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { checkpointsFolder, parseFolderName, passingName, stepFolderName, syncFolder } from './layout.ts';
import type { ModuleIdentity } from './module-identity.ts';
import {
  bestCheckpoint,
  byMetric,
  type CheckpointInfo,
  latestCheckpoint,
  listCheckpoints,
  openTrainingCheckpoint,
  type TrainingCheckpoint,
} from './read-checkpoint.ts';
import type { RunLock } from './run-lock.ts';
import { type CheckpointToSave, writeCheckpoint } from './write-checkpoint.ts';

/** With the identity of what is trained, such as the SHA-256 of a graph: other models' checkpoints are refused. */
export interface CheckpointStoreOptions extends ModuleIdentity {
  /** How many of the latest checkpoints to keep, at least 1. Default 3. */
  readonly keepLast?: number;
  /** How many of those with the lowest metric to keep beside them. Default 1. */
  readonly keepBest?: number;
}

/** Needs the lock of the run folder; `listCheckpoints` and its neighbours read without it. */
export class CheckpointStore {
  readonly #run: string;
  readonly #parent: string;
  readonly #identity: ModuleIdentity;
  readonly #keep: Required<Pick<CheckpointStoreOptions, 'keepLast' | 'keepBest'>>;

  private constructor(run: string, { module, parts, keepLast = 3, keepBest = 1 }: CheckpointStoreOptions) {
    this.#run = run;
    this.#parent = checkpointsFolder(run);
    this.#identity = { module, parts };
    this.#keep = { keepLast, keepBest };
  }

  /**
   * Opens the store and clears away what an interrupted save left; complete checkpoints stay as they are.
   * @throws QuaverError `checkpoint-bad-options`, `file-not-permitted`, …
   */
  static async open(lock: RunLock, options: CheckpointStoreOptions): Promise<CheckpointStore> {
    const { keepLast = 3, keepBest = 1 } = options;
    if (!Number.isSafeInteger(keepLast) || keepLast < 1 || !Number.isSafeInteger(keepBest) || keepBest < 0) {
      const found = `keepLast ${keepLast}, keepBest ${keepBest}`;
      throw new QuaverError(
        'checkpoint-bad-options',
        `expected whole numbers, keepLast from 1, keepBest from 0: ${found}`,
      );
    }
    const parent = checkpointsFolder(lock.folder);
    try {
      await mkdir(parent, { recursive: true });
      await recover(parent);
    } catch (error) {
      throw fileError(parent, error);
    }
    return new CheckpointStore(lock.folder, options);
  }

  /**
   * Saves a checkpoint, then removes those that are to be kept no longer. When it resolves, the checkpoint survives a power failure.
   * @throws QuaverError as `writeCheckpoint`; the checkpoints before are as they were
   */
  async save(checkpoint: CheckpointToSave): Promise<CheckpointInfo> {
    const { step, metric } = checkpoint;
    if (!Number.isSafeInteger(step) || step < 0 || step >= 1e15) {
      throw new QuaverError('checkpoint-bad-step', `expected a whole number of steps below 10^15, found ${step}`);
    }
    const folder = await writeCheckpoint(this.#parent, this.#identity, checkpoint);
    await this.#prune(step);
    return { step, metric, folder };
  }

  /** As `listCheckpoints`. */
  list(): Promise<readonly CheckpointInfo[]> {
    return listCheckpoints(this.#run);
  }

  /** As `latestCheckpoint`. */
  latest(): Promise<CheckpointInfo | undefined> {
    return latestCheckpoint(this.#run);
  }

  /** As `bestCheckpoint`. */
  best(): Promise<CheckpointInfo | undefined> {
    return bestCheckpoint(this.#run);
  }

  /** As `openTrainingCheckpoint`, for the module of this store. */
  open(step: number, signal?: AbortSignal): Promise<TrainingCheckpoint> {
    return openTrainingCheckpoint(this.#run, step, { ...this.#identity, ...(signal && { signal }) });
  }

  /** Damaged ones are neither counted nor removed: that is for a person to decide. What was just saved stays in any case. */
  async #prune(saved: number): Promise<void> {
    const all = await this.list();
    const { keepLast, keepBest } = this.#keep;
    const keep = new Set([saved]);
    for (const { step } of all.slice(-keepLast)) keep.add(step);
    for (const { step } of byMetric(all).slice(0, keepBest)) keep.add(step);
    for (const { step, folder } of all) {
      if (keep.has(step)) continue;
      // Renamed first: a crash in the middle of the removal must not leave a folder that looks like a checkpoint.
      const removed = join(this.#parent, passingName(step, 'removed'));
      await rename(folder, removed).catch((error) => Promise.reject(fileError(folder, error)));
      await rm(removed, { recursive: true, force: true });
    }
  }
}

/** Puts back what was about to be replaced, and deletes what is not complete or was about to be removed. */
async function recover(parent: string): Promise<void> {
  const names = new Set(await readdir(parent));
  for (const name of names) {
    const parsed = parseFolderName(name);
    if (parsed?.passing === undefined) continue;
    const place = stepFolderName(parsed.step);
    if (parsed.passing === 'replaced' && !names.has(place)) {
      await rename(join(parent, name), join(parent, place));
      names.add(place);
    } else await rm(join(parent, name), { recursive: true, force: true });
  }
  await syncFolder(parent);
}
