import type { JsonValue } from '@quaver/formats';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';

const count = z.int().min(0);
const rate = z.number().nullable();

const stateSchema = z.strictObject({
  config_sha256: z.string(),
  step: count,
  applied_steps: count,
  optimizer_steps: count,
  rollout_tokens: count,
  reward_failures: count,
  skipped_groups: count,
  heldout_accuracy: rate,
  heldout_accuracy_before: rate,
  best_heldout_accuracy: rate,
  advantage_memory: rate,
});

/** What a run knows beside its tensors; JSON, in every checkpoint. Draws and prompts follow from the step. */
export interface RlState {
  /** Of the configuration that the run was started with. */
  readonly config_sha256: string;
  /** Steps done: batches of rollouts that were learned from. */
  readonly step: number;
  /** Steps of the optimizer that changed the weights. */
  readonly applied_steps: number;
  /** Steps of the optimizer: several in a step where the algorithm takes several epochs. */
  readonly optimizer_steps: number;
  /** Sampled so far. */
  readonly rollout_tokens: number;
  readonly reward_failures: number;
  readonly skipped_groups: number;
  /** Of the last evaluation. */
  readonly heldout_accuracy: number | null;
  /** Before the first step. */
  readonly heldout_accuracy_before: number | null;
  readonly best_heldout_accuracy: number | null;
  /** What advantages remember of earlier steps: a moving average of rewards. */
  readonly advantage_memory: number | null;
}

export const freshRlState: Omit<RlState, 'config_sha256'> = {
  step: 0,
  applied_steps: 0,
  optimizer_steps: 0,
  rollout_tokens: 0,
  reward_failures: 0,
  skipped_groups: 0,
  heldout_accuracy: null,
  heldout_accuracy_before: null,
  best_heldout_accuracy: null,
  advantage_memory: null,
};

/** @throws QuaverError `checkpoint-corrupt` */
export function parseRlState(source: unknown, folder: string): RlState {
  const parsed = stateSchema.safeParse(source);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new QuaverError('checkpoint-corrupt', `${folder}: '${path.map(String).join('.')}': ${message}`, {
    hint: 'It was not written by this version, or was changed. Resume from an older checkpoint by deleting this one.',
    where: { file: folder },
  });
}

/** For a checkpoint: fields in one order, so that equal states have equal bytes. */
export function encodeRlState(state: RlState): JsonValue {
  return stateSchema.parse(state);
}
