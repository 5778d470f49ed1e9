/** @file What a training run is told: the fields of a configuration, with their defaults filled in. */
import type { Recipe, RematPolicy } from '@quaver/compiler';
import type { JsonValue } from '@quaver/formats';
import type { Decay } from './schedule.ts';

/** A path, or a new model with random weights. */
export type ModelConfig = string | NewModelConfig;

export interface NewModelConfig {
  /** A `config.json` in the words of Hugging Face, or the path of one. */
  readonly config: string | Readonly<Record<string, JsonValue>>;
  /** The folder of tokenizer.json and tokenizer_config.json. */
  readonly tokenizer: string;
  readonly name: string;
  readonly seed: number;
}

interface PackingConfig {
  /** Sequences begin at multiples of this in their row. */
  readonly align: number;
  readonly too_long: 'error' | 'truncate' | 'skip';
}

export interface DataFilesConfig extends PackingConfig {
  readonly files: string | readonly string[];
  readonly format?: 'jsonl' | 'text' | undefined;
  readonly separator?: string | undefined;
  readonly validation?: { readonly file: string | readonly string[] } | { readonly fraction: number } | undefined;
}

export interface GeneratedDataConfig extends PackingConfig {
  readonly generate: {
    /** A module (a package, or a path) whose `writeDataset({ path, count, seed, split, signal })` writes JSONL. */
    readonly module: string;
    readonly seed: number;
    readonly count: number;
    /** Examples of the split `validation`. */
    readonly validation?: number | undefined;
  };
}

interface BatchConfig {
  /** Of a micro-batch. */
  readonly rows: number;
  /** Of a row. */
  readonly tokens: number;
  /** Micro-batches of a step. */
  readonly accumulate: number;
}

export interface ScheduleConfig {
  readonly decay: Decay;
  readonly peak: number;
  readonly warmup: number;
  readonly floor: number;
  readonly cooldown?: number | undefined;
}

interface AdamConfig {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

export type OptimizerConfig = { readonly weight_decay: number } & (
  | ({ readonly name: 'adamw' } & AdamConfig)
  | { readonly name: 'sgd'; readonly momentum: number; readonly nesterov: boolean }
  | { readonly name: 'adafactor'; readonly decay_power: number; readonly eps: number; readonly clip: number }
  | ({ readonly name: 'muon'; readonly momentum: number; readonly iterations: number } & AdamConfig)
);

export interface TrainConfig {
  readonly model: ModelConfig;
  readonly data: DataFilesConfig | GeneratedDataConfig;
  /** A built-in recipe's name, or a recipe. */
  readonly recipe: string | Recipe;
  /** The schedule is made for so many. */
  readonly steps: number;
  /** Passes over the data after which the run ends before its steps are done. */
  readonly epochs?: number | undefined;
  readonly batch: BatchConfig;
  readonly optimizer: OptimizerConfig;
  readonly schedule: ScheduleConfig;
  /** Parameters, by glob, whose weights do not decay. */
  readonly no_weight_decay: readonly string[];
  /** Parameters, by glob, that do not train. */
  readonly frozen: readonly string[];
  readonly max_grad_norm: number | null;
  readonly remat: RematPolicy;
  readonly seed: number;
  /** Steps between evaluations and how many validation batches each takes (all by default); the last step is evaluated always. */
  readonly evaluate?: { readonly every: number; readonly batches?: number | undefined } | undefined;
  /**
   * Steps between checkpoints; the last step has one always. The best are chosen among those whose step was evaluated: let `every` be
   * a multiple of `evaluate.every`.
   */
  readonly checkpoint: { readonly every: number; readonly keep_last: number; readonly keep_best: number };
  /** Ends the run when so many evaluations in a row did not lower the validation loss. */
  readonly early_stop?: { readonly patience: number } | undefined;
  /** Steps between records of what FP8 does to each tensor; 0: none. Where nothing is FP8 there are none either. */
  readonly quantization_every: number;
  /** Steps in a row whose gradient is not finite, after which the run gives up. */
  readonly max_skipped: number;
}
