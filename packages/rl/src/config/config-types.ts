/** @file What a reinforcement-learning run is told: the fields of a configuration, with their defaults filled in. */
import type { Recipe, RematPolicy } from '@quaver/compiler';
import type { JsonValue } from '@quaver/formats';
import type { ModelConfig, OptimizerConfig, ScheduleConfig } from '@quaver/train';

/** A choice with options of its own, by name. */
export interface NamedConfig {
  readonly name: string;
  readonly [option: string]: JsonValue;
}

export interface RolloutConfig {
  /** Prompts of a step. */
  readonly prompts: number;
  /** Samples of each prompt: a group. */
  readonly samples: number;
  readonly max_new_tokens: number;
  readonly temperature: number;
  readonly top_k: number;
  readonly top_p: number;
  /** Sequences that are generated together. */
  readonly max_sequences: number;
  /** Tokens of the KV cache, over all sequences. */
  readonly cache_tokens: number;
  readonly page_tokens: number;
}

/** Accuracy on held-out problems: every so many steps, before the first and after the last. */
export interface EvaluateConfig {
  readonly every: number;
  readonly problems: number;
  /** Answers to each; the accuracy is the mean over all. */
  readonly samples: number;
  /** Of the draws; 0 is greedy. */
  readonly temperature: number;
}

export interface RlConfig {
  readonly model: ModelConfig;
  /** A built-in task by name, or a module of one's own; see `parseTask`. */
  readonly task: NamedConfig | { readonly module: string; readonly options?: JsonValue };
  readonly algorithm: NamedConfig;
  /** What makes up for generation and training that disagree. */
  readonly correction: NamedConfig;
  readonly recipe: string | Recipe;
  readonly kv_cache?: 'bf16' | 'fp8' | undefined;
  readonly attention?: 'bf16' | 'fp8' | undefined;
  readonly lm_head?: 'bf16' | 'fp8' | undefined;
  /** `unified`: one executor in the canonical order generates and trains; `split`: generation adds in any order, as other engines do. */
  readonly mode: 'unified' | 'split';
  readonly steps: number;
  readonly rollout: RolloutConfig;
  /** Tokens of a micro-batch, padding included. */
  readonly batch: { readonly tokens: number };
  readonly optimizer: OptimizerConfig;
  readonly schedule: ScheduleConfig;
  readonly no_weight_decay: readonly string[];
  readonly frozen: readonly string[];
  readonly max_grad_norm: number | null;
  readonly remat: RematPolicy;
  readonly reward: { readonly workers: number; readonly timeout_ms: number; readonly memory_mb: number };
  readonly evaluate?: EvaluateConfig | undefined;
  readonly checkpoint: { readonly every: number; readonly keep_last: number; readonly keep_best: number };
  /** How many steps old the weights may be that a batch was generated with; 0: generation waits for the step. */
  readonly max_policy_age: number;
  readonly seed: number;
}
