import type { RolloutResult } from '@quaver/generate';
import type { Work } from '../roofline/work.ts';
import type { Reward, RlProblem } from '../tasks/environment.ts';

/** What the policy said to a problem, and what it was worth. */
export interface Sample {
  /** At least one; in a task of one turn, one. The prompt of each is the conversation so far. */
  readonly turns: readonly RolloutResult[];
  readonly reward: Reward;
}

/** A problem with its samples. */
export interface Group {
  readonly problem: RlProblem;
  readonly samples: readonly Sample[];
}

/** What the policy generated in one step. */
export interface Experience {
  /** More than the prompts of a step where some taught nothing and others were sampled in their place. */
  readonly groups: readonly Group[];
  /** How often prompts were sampled. */
  readonly rounds: number;
  /** Optimizer steps that the weights had seen that generated it. */
  readonly policyVersion: number;
  /** What generation computed and moved at least. */
  readonly work: Work;
  readonly seconds: { readonly rollout: number; readonly reward: number };
}
