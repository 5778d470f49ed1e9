import type { Session, SessionState } from '@quaver/executor';
import { uniform } from '@quaver/numerics';
import type { ModelCalls } from '../model-calls.ts';
import type { ModelLimits } from '../model-limits.ts';
import { type ResolvedSampling, sampleToken } from '../sampling/sampler.ts';

export interface SampledSequence {
  readonly tokens: readonly number[];
  /** Log-probabilities of tokens 1…, from `logprobs` on this sequence alone. */
  readonly logprobs: Float32Array;
}

export interface SampleContext {
  readonly session: Session;
  readonly calls: ModelCalls;
  readonly limits: ModelLimits;
  readonly sampling: ResolvedSampling;
  readonly onProgress: (done: number, total: number) => void;
}

/** Sequences are made this many at a time, with prefixes of 1, 2, … as many tokens. */
const groupSize = 8;
const longestSequence = 512;
const crossingLength = 140;

/** Samples at least `wanted` tokens, in whole sequences after random prefixes. */
export async function sampleSequences(context: SampleContext, wanted: number): Promise<SampledSequence[]> {
  const longest = Math.min(context.limits.context, longestSequence);
  const sequences: SampledSequence[] = [];
  for (let made = 0; made < wanted; ) {
    const share = Math.ceil((wanted - made) / groupSize);
    const fresh = Math.max(1, Math.min(share, longest - groupSize));
    for (const tokens of await sampleGroup(context, sequences.length, fresh)) {
      const [logprobs] = await context.calls.logprobs([tokens.slice(0, -1)], [tokens.slice(1)]);
      sequences.push({ tokens, logprobs: logprobs! });
    }
    made += fresh * groupSize;
    context.onProgress(Math.min(made, wanted), wanted);
  }
  return sequences;
}

/** Sequences `first`…: prefixes of 1, 2, … random tokens, and `fresh` tokens sampled after each. */
async function sampleGroup(context: SampleContext, first: number, fresh: number): Promise<number[][]> {
  const { session, limits, sampling } = context;
  const longestPrefix = Math.max(1, Math.min(groupSize, limits.context - fresh));
  // Even streams of random numbers make prefixes, odd ones choose tokens.
  const rows = Array.from({ length: groupSize }, (_, r) =>
    Array.from({ length: 1 + (r % longestPrefix) }, (_, i) =>
      Math.floor(uniform(sampling.seed, 2 * (first + r), i) * limits.vocabSize),
    ),
  );
  const state = session.createState({ B: groupSize, C: longestPrefix + fresh - 1 });
  try {
    await extendRows(context, state, rows, fresh, (r) => 2 * (first + r) + 1);
  } finally {
    state.dispose();
  }
  return rows;
}

/**
 * Tokens of the given sequences one after the other, over and over, up to 140: attention adds over keys in blocks of 128.
 * None where one of them is as long, or the context is short. Nothing is decoded to make it: it costs little.
 */
export async function longSequence(
  { calls, limits }: SampleContext,
  sequences: readonly SampledSequence[],
): Promise<SampledSequence | undefined> {
  const pool = sequences.flatMap(({ tokens }) => tokens);
  const length = Math.min(limits.context, crossingLength);
  if (sequences.some(({ tokens }) => tokens.length >= length)) return undefined;
  const tokens = Array.from({ length }, (_, i) => pool[i % pool.length]!);
  const [logprobs] = await calls.logprobs([tokens.slice(0, -1)], [tokens.slice(1)]);
  return { tokens, logprobs: logprobs! };
}

/** Samples `fresh` tokens at the end of each row, all rows in one batch. */
async function extendRows(
  { calls, sampling }: SampleContext,
  state: SessionState,
  rows: readonly number[][],
  fresh: number,
  streamOf: (row: number) => number,
): Promise<void> {
  const goals = rows.map((row) => row.length + fresh);
  for (let at = 0; at + 1 < Math.max(...goals); at++) {
    // A row that has reached its goal repeats its last token; what follows it is not looked at.
    const tokens = rows.map((row) => row[Math.min(at, row.length - 1)]!);
    const positions = rows.map(() => at);
    await calls.decode(state, tokens, positions, ({ logits }) => {
      for (const [r, row] of rows.entries()) {
        if (at === row.length - 1 && row.length < goals[r]!) {
          row.push(sampleToken(logits[r]!, row, sampling, streamOf(r), at));
        }
      }
    });
  }
}
