import type { Executor, SessionProgress } from '@quaver/executor';
import type { Module } from '@quaver/ir';
import type { TrainConfig } from '../config-types.ts';
import type { IndexProgress } from '../data/node/file-examples.ts';
import type { StepRecord } from '../metrics/records.ts';

export type TrainEvent =
  | SessionProgress
  | IndexProgress
  | { readonly phase: 'step'; readonly record: StepRecord; readonly steps: number; readonly secondsLeft: number }
  | { readonly phase: 'evaluate'; readonly step: number; readonly loss?: number }
  | { readonly phase: 'checkpoint'; readonly step: number; readonly folder?: string };

export interface TrainRunOptions {
  /** From {@link parseTrainConfig}; its `model` was loaded by the caller. Paths are relative to the working directory. */
  readonly config: TrainConfig;
  /** Imported, not compiled, with its tokenizer. */
  readonly module: Module;
  /** Stays the caller's. */
  readonly executor: Executor;
  /** Where the run keeps its files. */
  readonly folder: string;
  /** Go on from the latest checkpoint in the folder. */
  readonly resume?: boolean;
  /** Stops after the step that is under way, with a checkpoint. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: TrainEvent) => void;
}

export interface TrainRunResult {
  readonly steps: number;
  /** Of the last step. */
  readonly loss: number | null;
  readonly val_loss: number | null;
  readonly best_val_loss: number | null;
  /** Before the first step of the run. */
  readonly val_loss_before: number | null;
  readonly tokens: number;
  /** Of the steps of this call, evaluations and checkpoints left out. */
  readonly tokens_per_s: number;
  readonly skipped_steps: number;
  readonly parameters_sha256: string;
  /** What ended it: all steps, all epochs, or a validation loss that did not fall any more. */
  readonly ended: 'steps' | 'epochs' | 'early-stop';
}
