/** @file What a run tells while it goes on, and at its end. */
import type { Evaluation } from './evaluate.ts';
import type { RlRecord } from './records.ts';

export type RlEvent =
  | { readonly phase: 'step'; readonly record: RlRecord; readonly steps: number; readonly secondsLeft: number }
  | ({ readonly phase: 'evaluate'; readonly step: number } & Evaluation)
  | { readonly phase: 'checkpoint'; readonly step: number; readonly folder: string }
  /** The executor was lost after so many steps; the run goes on with another one from its latest checkpoint. */
  | { readonly phase: 'lost'; readonly step: number; readonly reason: string };

export interface RlRunResult {
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
  /** Largest of all steps of this call. */
  readonly token_mult_prob_error: number | null;
  /** Of all steps of this call. */
  readonly mismatched_tokens: number;
  readonly reward_failures: number;
  readonly skipped_groups: number;
  readonly skipped_steps: number;
  /** Bytes that decoding reads of the weights, for each parameter. */
  readonly bytes_per_parameter: number;
  readonly parameters_sha256: string;
}
