/** @file What a run tells while it goes on, and at its end. */

import type { Roofline } from '../roofline/roofline.ts';
import type { Evaluation } from './evaluate.ts';
import type { RlRecord } from './records.ts';

export type RlEvent =
  | { readonly phase: 'step'; readonly record: RlRecord; readonly steps: number; readonly secondsLeft: number }
  | ({ readonly phase: 'evaluate'; readonly step: number } & Evaluation)
  | { readonly phase: 'checkpoint'; readonly step: number; readonly folder: string }
  /** The executor was lost after so many steps; the run goes on with another one from its latest checkpoint. */
  | { readonly phase: 'lost'; readonly step: number; readonly reason: string };

/** What the steps of a run came to. */
export interface RlLoopResult {
  readonly steps: number;
  /** Of the last step. */
  readonly loss: number | null;
  readonly reward: number | null;
  readonly heldout_accuracy: number | null;
  /** Before the first step. */
  readonly heldout_accuracy_before: number | null;
  readonly best_heldout_accuracy: number | null;
  /** Sampled tokens. */
  readonly tokens: number;
  readonly reward_failures: number;
  readonly skipped_groups: number;
  readonly skipped_steps: number;
  /** Bytes that decoding reads of the weights, for each parameter. */
  readonly bytes_per_parameter: number;
  readonly parameters_sha256: string;
}

export interface RlRunResult extends RlLoopResult {
  /** Largest of all steps; null where nothing was compared. */
  readonly token_mult_prob_error: number | null;
  /** Sampled tokens whose log-probabilities of generation and of training were compared, and those of them that differ. */
  readonly compared_tokens: number;
  readonly mismatched_tokens: number;
  /** What binds generation and training, over all steps. */
  readonly roofline: Roofline;
  /** What weights, optimizer, KV cache and the largest call take of the executor. */
  readonly memory_bytes: number;
}
