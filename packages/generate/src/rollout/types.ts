/** @file What goes into a rollout engine and what comes out of it. */
import type { Session } from '@quaver/executor';
import type { QuaverError } from '@quaver/numerics';
import type { StopReason } from '../generate.ts';
import type { SamplingOptions } from '../sampling/sampler.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

export type RequestId = string | number;

/** One prompt, continued once or several times. */
export interface RolloutRequest extends SamplingOptions {
  /** Names the request in events and results, and its draws where there is no `key`; it need not be unique. */
  readonly id: RequestId;
  /** Token ids; at least one. */
  readonly prompt: readonly number[];
  /** Continuations of the prompt, which is computed once for all of them. Default 1. */
  readonly samples?: number;
  /**
   * Names the draws, for example [seed of the run, step, index of the prompt]: integers from 0. With the seeds of engine and
   * request and the index of the sample it fixes every draw, whatever else is in the batch. Default: the id.
   */
  readonly key?: readonly number[];
  /** Default 256. */
  readonly maxNewTokens?: number;
  /** Texts that end a continuation; they are not part of its text. Needs the engine's `tokenizer`. */
  readonly stop?: string | readonly string[];
  /** Ids that end a continuation; default those of the model. */
  readonly eosTokenIds?: readonly number[];
  /** Also give this many of the most probable tokens at every step. Default 0. */
  readonly topLogprobs?: number;
}

export interface RolloutOptions {
  /** Sequences that run at the same time. Default 64. */
  readonly maxSequences?: number;
  /** Tokens that the KV cache holds for all sequences together, rounded up to pages. Default 65536. */
  readonly cacheTokens?: number;
  /** Prompt tokens per call of `prefill`, padding included: bounds how long running sequences wait. Default 512. */
  readonly prefillTokens?: number;
  /** Part of every draw's key. Default 0. */
  readonly seed?: number;
  /** Gives results their text, and makes stop strings possible. */
  readonly tokenizer?: Tokenizer;
  /**
   * Gives a session to go on with after the executor failed; sequences under way are computed again and continue with the
   * same bits. Without it such an error ends the run.
   */
  readonly reopen?: (error: unknown) => Promise<Session>;
}

export interface RunRolloutOptions {
  readonly signal?: AbortSignal;
}

export interface TopLogprob {
  readonly token: number;
  readonly logprob: number;
}

export interface RolloutTokenEvent {
  readonly type: 'token';
  readonly id: RequestId;
  readonly sample: number;
  readonly token: number;
  /** Natural log of the model's probability of the token, at temperature 1 and without filters. */
  readonly logprob: number;
  /** Most probable first; where they were asked for. */
  readonly topLogprobs?: readonly TopLogprob[];
}

/** One continuation that came to its end. */
export interface RolloutResult {
  readonly id: RequestId;
  readonly sample: number;
  readonly error?: undefined;
  readonly prompt: readonly number[];
  /** With the id that ended the text, where one did. */
  readonly tokens: readonly number[];
  /** Of `tokens`: natural log of the model's probability, at temperature 1 and without filters. */
  readonly logprobs: Float32Array;
  /** Of every step, most probable first; where they were asked for. */
  readonly topLogprobs?: readonly (readonly TopLogprob[])[];
  /** Up to the stop string, without the id that ended the text; where the engine has a tokenizer. */
  readonly text?: string;
  readonly stopReason: StopReason;
  /** From when the request was taken to the first token, and to the end. */
  readonly firstTokenSeconds: number;
  readonly seconds: number;
}

/** One continuation that could not be made; the others go on. */
export interface RolloutFailure {
  readonly id: RequestId;
  readonly sample: number;
  readonly error: QuaverError;
}

export type RolloutOutcome = RolloutResult | RolloutFailure;

export type RolloutEvent =
  | RolloutTokenEvent
  | ({ readonly type: 'end' } & RolloutResult)
  | ({ readonly type: 'error' } & RolloutFailure);
