/** @file A tiny model with a paged cache on the CPU executor, and what its samples are without an engine. */
import { type Executor, Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import type { Module } from '@quaver/ir';
import {
  ModelCalls,
  modelLimits,
  pagedCache,
  RolloutEngine,
  type RolloutOptions,
  type RolloutOutcome,
  type RolloutRequest,
  type RolloutResult,
  resolveSampling,
  sampleToken,
} from '../../../src/index.ts';
import { drawKey, keyOf } from '../../../src/rollout/draw-key.ts';
import { bits } from '../../support/tiny-models.ts';

export interface Opened extends AsyncDisposable {
  readonly engine: RolloutEngine;
  readonly session: Session;
}

/** @param options with a small cache by default; with an executor of its own, if none is given */
export async function openEngine(
  module: Module,
  {
    pageTokens = 16,
    executor,
    cacheTokens = 4096,
    ...options
  }: RolloutOptions & { pageTokens?: number; executor?: Executor } = {},
): Promise<Opened> {
  const own = executor ?? (await cpuPlugin.open());
  const session = await Session.open(pagedCache(module, { pageTokens }), own, { functions: ['prefill', 'decode'] });
  const engine = await RolloutEngine.open(session, { cacheTokens, ...options });
  const close = async () => {
    engine.dispose();
    await session[Symbol.asyncDispose]();
    if (!executor) await own[Symbol.asyncDispose]();
  };
  return { engine, session, [Symbol.asyncDispose]: close };
}

/** What one sample is with a cache of its own: one token after the other, through the module's functions as they are. */
export async function sampledAlone(session: Session, request: RolloutRequest, sample: number): Promise<Told> {
  const { prompt, maxNewTokens = 256, eosTokenIds = [] } = request;
  const { context } = modelLimits(session.module);
  const sampling = resolveSampling(request);
  const { seed, stream } = drawKey([0, sampling.seed, ...keyOf(request.id, request.key), sample]);
  const calls = new ModelCalls(session);
  const state = session.createState({ B: 1, C: context });
  const tokens = [...prompt];
  const logprobs: number[] = [];
  const draw = (next: Parameters<Parameters<ModelCalls['decode']>[3]>[0]) => {
    const token = sampleToken(next.logits[0]!, tokens, { ...sampling, seed }, stream, logprobs.length);
    logprobs.push(next.logprobs[0]![token]!);
    tokens.push(token);
  };
  await calls.prefill(state, [prompt], [0], draw);
  while (logprobs.length < maxNewTokens && !eosTokenIds.includes(tokens.at(-1)!) && tokens.length < context) {
    await calls.decode(state, [tokens.at(-1)!], [tokens.length - 1], draw);
  }
  state.dispose();
  return { tokens: tokens.slice(prompt.length), bits: bits(logprobs) };
}

/** Tokens, and log-probabilities as the 32 bits of each. */
export interface Told {
  readonly tokens: readonly number[];
  readonly bits: readonly number[];
}

export function told(outcome: RolloutOutcome | undefined): Told {
  const { tokens, logprobs } = completed(outcome);
  return { tokens, bits: bits(logprobs) };
}

export function completed(outcome: RolloutOutcome | undefined): RolloutResult {
  if (!outcome) throw new Error('there is no such outcome');
  if (outcome.error) throw outcome.error;
  return outcome;
}
