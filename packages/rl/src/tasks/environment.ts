/** @file What a task is: problems, and how a response to one is judged. */
import type { JsonValue } from '@quaver/formats';
import type { ChatMessage, StopReason } from '@quaver/generate';

/** Parts of the problems that have none in common: to learn from, to choose settings with, and to report results on. */
export type ProblemSplit = 'train' | 'validation' | 'held-out';

export interface RlProblem {
  /** Names the problem in messages. */
  readonly id: string;
  /** The conversation that the policy continues. */
  readonly messages: readonly ChatMessage[];
  /** What the verifier needs to know; JSON, because it runs in another thread. */
  readonly data: JsonValue;
}

export interface RlResponse {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly stopReason: StopReason;
}

/** What a response is worth. A failure is counted and its sample left out; it is never 0. */
export type Reward =
  | {
      readonly status: 'ok';
      readonly reward: number;
      readonly correct: boolean;
      readonly parts?: Readonly<Record<string, number>>;
    }
  | { readonly status: 'failed'; readonly reason: string; readonly message: string };

/** Judges responses. */
export interface RewardPool {
  /** Never throws for what the task's code does. @throws QuaverError `aborted` */
  verify(problem: RlProblem, response: RlResponse, options?: { readonly signal?: AbortSignal }): Promise<Reward>;
}

/** Problems, and who judges responses to them. */
export interface RlTask extends RewardPool, AsyncDisposable {
  /** Problems to learn from: `count` of them from `first` on; the list has no end. */
  problems(first: number, count: number): Promise<readonly RlProblem[]>;
  /** The first of the problems that are held out; fewer where there are not as many. */
  heldOut(count: number): Promise<readonly RlProblem[]>;
}
