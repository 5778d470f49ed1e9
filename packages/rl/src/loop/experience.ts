import type { RolloutResult } from '@quaver/generate';
import type { Reward, RlProblem } from '../tasks/environment.ts';

/** One sampled response and what it was worth. */
export interface Sample {
  readonly rollout: RolloutResult;
  readonly reward: Reward;
}

/** A problem with its samples. */
export interface Group {
  readonly problem: RlProblem;
  readonly samples: readonly Sample[];
}

/** What the policy generated in one step. */
export interface Experience {
  readonly groups: readonly Group[];
  /** Optimizer steps that the weights had seen that generated it. */
  readonly policyVersion: number;
  readonly seconds: { readonly rollout: number; readonly reward: number };
}
