/** @file What a task is: problems, what is said between turns, and how a response is judged. */
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

/** What the policy said; in a task of several turns the last of its messages. */
export interface RlResponse {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly stopReason: StopReason;
  /** The conversation after the problem's own messages, this response included. */
  readonly messages: readonly ChatMessage[];
}

/** What a verifier says. */
export interface Verdict {
  /** A finite number. */
  readonly reward: number;
  /** Whether it counts as right in an accuracy. */
  readonly correct: boolean;
}

/**
 * A task. Its methods run in a thread of their own, with a time limit: they may take long, throw or never return, and only the
 * sample that they were asked about is lost.
 */
export interface Environment {
  /** How many problems a split has; left out: without end. */
  size?(split: ProblemSplit): number | Promise<number>;
  /** Problem `index` of a split, from 0; depends on nothing else. */
  problem(index: number, split: ProblemSplit): RlProblem | Promise<RlProblem>;
  verify(problem: RlProblem, response: RlResponse): Verdict | Promise<Verdict>;
  /** What the environment answers; undefined where the conversation has come to its end. Left out: one turn. */
  respond?(problem: RlProblem, response: RlResponse): string | undefined | Promise<string | undefined>;
}

/** Why there is no verdict. */
export type RewardFailure = 'threw' | 'timeout' | 'invalid' | 'ended';

/** What a response is worth. A failure is counted and its sample left out; it is never 0. */
export type Reward =
  | ({ readonly status: 'ok' } & Verdict)
  | { readonly status: 'failed'; readonly reason: RewardFailure; readonly message: string };

/** What an environment says next; undefined at the end of a conversation. */
export type Reply = string | undefined | Extract<Reward, { readonly status: 'failed' }>;

export interface TaskCallOptions {
  readonly signal?: AbortSignal;
}

/** A task that a run can use: problems, what comes between turns, and rewards. What the task's code does wrong is a failed reward. */
export interface RlTask extends AsyncDisposable {
  /**
   * Problems to learn from: `count` of them from `first` on. The list has no end: where the task has few problems they come again,
   * in another order.
   * @throws QuaverError `rl-task-failed`, `aborted`
   */
  problems(first: number, count: number): Promise<readonly RlProblem[]>;
  /** The first of the problems that are held out; fewer where there are not as many. @throws as `problems` */
  heldOut(count: number): Promise<readonly RlProblem[]>;
  /** Left out where there is one turn. */
  respond?: ((problem: RlProblem, response: RlResponse, options?: TaskCallOptions) => Promise<Reply>) | undefined;
  /** @throws QuaverError `aborted` */
  verify(problem: RlProblem, response: RlResponse, options?: TaskCallOptions): Promise<Reward>;
}
