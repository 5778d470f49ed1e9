import type { JsonValue } from '@quaver/formats';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import type { DataCursor } from '../data/cursor.ts';

const count = z.int().min(0);

const runStateSchema = z.object({
  step: count,
  applied_steps: count,
  tokens: count,
  cursor: z.json().optional(),
  loss: z.number().nullable(),
  val_loss: z.number().nullable(),
  val_loss_before: z.number().nullable(),
  best_val_loss: z.number().nullable(),
  evaluations_without_gain: count,
  skipped_in_a_row: count,
});

/** What a run knows beside its tensors; JSON, in every checkpoint. */
export interface RunState {
  /** Steps done. */
  readonly step: number;
  /** Of these, the ones that changed the parameters. */
  readonly applied_steps: number;
  /** Tokens trained on. */
  readonly tokens: number;
  /** Position in the data; missing before the first step. */
  readonly cursor?: DataCursor;
  /** Of the last step. */
  readonly loss: number | null;
  /** Of the last evaluation. */
  readonly val_loss: number | null;
  /** Before the first step. */
  readonly val_loss_before: number | null;
  readonly best_val_loss: number | null;
  /** Evaluations since the best one. */
  readonly evaluations_without_gain: number;
  /** The last steps, as many as had a gradient that was not finite. */
  readonly skipped_in_a_row: number;
}

export const freshRunState: RunState = {
  step: 0,
  applied_steps: 0,
  tokens: 0,
  loss: null,
  val_loss: null,
  val_loss_before: null,
  best_val_loss: null,
  evaluations_without_gain: 0,
  skipped_in_a_row: 0,
};

/** @throws QuaverError `checkpoint-corrupt`; the cursor is checked by the dataset */
export function parseRunState(source: unknown, folder: string): RunState {
  const parsed = runStateSchema.safeParse(source);
  if (parsed.success) return parsed.data as unknown as RunState;
  const { path, message } = parsed.error.issues[0]!;
  throw new QuaverError('checkpoint-corrupt', `${folder}: '${path.map(String).join('.')}': ${message}`, {
    hint: 'It was not written by this version, or was changed. Resume from an older checkpoint by deleting this one.',
    where: { file: folder },
  });
}

/** For a checkpoint: fields in one order, whether or not the state came out of a checkpoint, so that equal states have equal bytes. */
export function encodeRunState(state: RunState): JsonValue {
  return JSON.parse(JSON.stringify(runStateSchema.parse(state)));
}

/** The state after an evaluation; a loss that is not finite is none, and no gain. */
export function afterEvaluation(state: RunState, loss: number): RunState {
  const best = state.best_val_loss;
  const gained = Number.isFinite(loss) && (best === null || loss < best);
  return {
    ...state,
    val_loss: finiteOrNull(loss),
    best_val_loss: gained ? loss : best,
    evaluations_without_gain: gained ? 0 : state.evaluations_without_gain + 1,
  };
}

/** JSON has no other numbers. */
export function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
