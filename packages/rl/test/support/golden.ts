/** @file The goldens of data/rl-losses.json (see data/ORIGIN.md). */
import { readFileSync } from 'node:fs';
import type { MismatchMetrics } from '@quaver/numerics';
import type { GroupRelativeOptions, PolicyStatistics, RatioClip } from '../../src/index.ts';

/** Numbers of the sampled tokens, by sequence. */
type Sequences = readonly (readonly number[])[];

interface Golden {
  readonly shape: readonly [number, number, number];
  /** Where in its row each sequence begins. */
  readonly starts: readonly number[];
  readonly lengths: readonly number[];
  readonly max_tokens: number;
  readonly logits: readonly number[];
  readonly targets: readonly number[];
  readonly logprobs: Sequences;
  readonly old_logprobs: Sequences;
  readonly reference_logprobs: Sequences;
  /** By sequence. */
  readonly advantages: readonly number[];
  readonly correction: Sequences;
  readonly objectives: readonly {
    readonly config: { readonly name: string };
    /** Whether `correction` counts; without it all are 1. */
    readonly corrected: boolean;
    readonly loss: number;
    readonly gradient: readonly number[];
  }[];
  readonly rewards: readonly (readonly number[])[];
  readonly group_relative: readonly { readonly options: GroupRelativeOptions; readonly advantages: Sequences }[];
  readonly generation: Sequences;
  readonly training: Sequences;
  readonly corrections: readonly { readonly config: { readonly name: string }; readonly weights: Sequences }[];
  readonly mismatch: MismatchMetrics;
  readonly policy_statistics: readonly { readonly clip: RatioClip; readonly statistics: PolicyStatistics }[];
}

export const golden: Golden = JSON.parse(readFileSync(new URL('../data/rl-losses.json', import.meta.url), 'utf8'));
