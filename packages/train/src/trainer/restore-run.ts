/** @file A run goes on from its latest checkpoint. */
import { QuaverError } from '@quaver/numerics';
import { type CheckpointInfo, listCheckpoints, type TrainingCheckpoint } from '../checkpoint/read-checkpoint.ts';
import type { CheckpointStore } from '../checkpoint/store.ts';
import type { TrainConfig } from '../config-types.ts';
import type { Dataset } from '../data/dataset.ts';
import { parseRunState, type RunState } from './run-state.ts';
import type { TrainingSession } from './training-session.ts';

/**
 * The checkpoint to go on from; undefined for a run that was interrupted before its first one. Cheap: tensors are not read.
 * @throws QuaverError `checkpoint-incomplete`, `checkpoint-corrupt`, `run-steps-behind`
 */
export async function checkpointToResume(
  store: CheckpointStore,
  { steps }: Pick<TrainConfig, 'steps'>,
): Promise<CheckpointInfo | undefined> {
  const latest = await store.latest();
  if (!latest || latest.step <= steps) return latest;
  throw new QuaverError(
    'run-steps-behind',
    `${latest.folder}: is of step ${latest.step}, but the configuration ends the run at step ${steps}`,
    { hint: `Let steps be ${latest.step} or more, or start a new run.`, where: { file: latest.folder, steps } },
  );
}

/**
 * Brings weights, optimizer and counters to where they were, after every byte was compared with its hash.
 * @throws QuaverError `checkpoint-of-another-model`, `checkpoint-corrupt`, `data-changed`, `data-settings-changed`, …
 */
export async function restoreRun(
  info: CheckpointInfo,
  parts: { readonly store: CheckpointStore; readonly session: TrainingSession; readonly dataset: Dataset },
  runFolder: string,
): Promise<RunState> {
  const { store, session, dataset } = parts;
  return restoreSession(info, { store, session }, runFolder, (json, folder) => {
    const state = parseRunState(json, folder);
    if (state.cursor !== undefined) dataset.checkCursor(state.cursor);
    return state;
  });
}

/**
 * Brings weights and optimizer to where they were, after every byte was compared with its hash.
 * @param parse the checkpoint's JSON, with the number of steps that had been applied
 * @throws QuaverError `checkpoint-of-another-model`, `checkpoint-corrupt`, `checkpoint-incomplete`, and what `parse` throws
 */
export async function restoreSession<State extends { readonly applied_steps: number }>(
  { step }: CheckpointInfo,
  { store, session }: { readonly store: CheckpointStore; readonly session: TrainingSession },
  runFolder: string,
  parse: (json: unknown, folder: string) => State,
): Promise<State> {
  const checkpoint = await store
    .open(step)
    .catch(async (error) => Promise.reject(await namingOlder(error, step, runFolder)));
  try {
    const state = parse(checkpoint.json, checkpoint.folder);
    await session.restore((kind, tensor) => readTensor(checkpoint, kind, tensor), state.applied_steps);
    return state;
  } finally {
    await checkpoint.close();
  }
}

function readTensor(
  checkpoint: TrainingCheckpoint,
  kind: 'parameter' | 'state',
  { name, dtype, shape }: { readonly name: string; readonly dtype: string; readonly shape: readonly number[] },
): Promise<Uint8Array> {
  const tensor = (kind === 'parameter' ? checkpoint.parameters : checkpoint.state).get(name);
  if (tensor?.dtype === dtype && tensor.shape.join() === shape.join()) return tensor.read();
  const found = tensor ? `is ${tensor.dtype}[${tensor.shape}]` : 'is missing';
  throw new QuaverError(
    'checkpoint-of-another-model',
    `${checkpoint.folder}: '${name}' ${found}, expected ${dtype}[${shape}]`,
    {
      hint: 'Resume with the model and the optimizer that the run was started with.',
      where: { file: checkpoint.folder, tensor: name },
    },
  );
}

/** Says of a damaged checkpoint how to go on without it. */
async function namingOlder(error: unknown, step: number, runFolder: string): Promise<unknown> {
  if (!(error instanceof QuaverError) || !['checkpoint-corrupt', 'checkpoint-incomplete'].includes(error.code))
    return error;
  const all = await listCheckpoints(runFolder);
  const older = all.findLast((other) => other.step < step);
  const damaged = all.find((other) => other.step === step);
  const next = older ? `Step ${older.step} is complete.` : 'No other is complete: the run would begin again.';
  return new QuaverError(error.code, error.message, {
    hint: `${next} Move ${damaged?.folder ?? 'the damaged folder'} away to go on without it.`,
    where: error.where,
    cause: error,
  });
}
