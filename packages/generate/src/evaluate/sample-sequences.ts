import type { Session, SessionState } from '@quaver/executor';
import type { ModelCalls } from '../model-calls.ts';
import type { ModelLimits } from '../model-limits.ts';
import { uniform } from '../sampling/random.ts';
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

/** One sequence is this long when at least so many tokens are wanted: attention adds over keys in blocks of 128. */
const crossing = { length: 140, wanted: 64 };

/** Sequences that are sampled in one batch. */
interface Group {
  /** How many random tokens each begins with. */
  readonly prefixes: readonly number[];
  /** Tokens sampled after each prefix. */
  readonly fresh: number;
}

/**
 * Samples at least `wanted` tokens, in whole sequences after random prefixes. From 64 tokens on the first sequence is
 * longer than 128, where the context allows it.
 */
export async function sampleSequences(context: SampleContext, wanted: number): Promise<SampledSequence[]> {
  const { calls, limits, onProgress } = context;
  const sequences: SampledSequence[] = [];
  const sample = async (group: Group) => {
    for (const tokens of await sampleGroup(context, sequences.length, group)) {
      const [logprobs] = await calls.logprobs([tokens.slice(0, -1)], [tokens.slice(1)]);
      sequences.push({ tokens, logprobs: logprobs! });
    }
  };
  const long = longGroup(limits, wanted);
  const total = wanted + (long?.fresh ?? 0);
  if (long) {
    await sample(long);
    onProgress(long.fresh, total);
  }
  for (let made = 0; made < wanted; ) {
    const group = nextGroup(limits, wanted - made);
    await sample(group);
    made += group.fresh * groupSize;
    onProgress(total - Math.max(0, wanted - made), total);
  }
  return sequences;
}

/** A group with a share in the `missing` tokens. */
function nextGroup(limits: ModelLimits, missing: number): Group {
  const longest = Math.min(limits.context, longestSequence);
  const fresh = Math.max(1, Math.min(Math.ceil(missing / groupSize), longest - groupSize));
  const longestPrefix = Math.max(1, Math.min(groupSize, limits.context - fresh));
  return { prefixes: Array.from({ length: groupSize }, (_, r) => 1 + (r % longestPrefix)), fresh };
}

/** The long sequence, unless the others are as long. */
function longGroup(limits: ModelLimits, wanted: number): Group | undefined {
  const length = Math.min(limits.context, crossing.length);
  const { prefixes, fresh } = nextGroup(limits, wanted);
  if (wanted < crossing.wanted || length <= Math.max(...prefixes) + fresh) return undefined;
  return { prefixes: [groupSize], fresh: length - groupSize };
}

/** Sequences `first`…: random tokens, and `fresh` tokens sampled after them. */
async function sampleGroup(context: SampleContext, first: number, group: Group): Promise<number[][]> {
  const { session, limits, sampling } = context;
  const { prefixes, fresh } = group;
  // Even streams of random numbers make prefixes, odd ones choose tokens.
  const rows = prefixes.map((length, r) =>
    Array.from({ length }, (_, i) => Math.floor(uniform(sampling.seed, 2 * (first + r), i) * limits.vocabSize)),
  );
  const state = session.createState({ B: rows.length, C: Math.max(...prefixes) + fresh - 1 });
  try {
    await extendRows(context, state, rows, fresh, (r) => 2 * (first + r) + 1);
  } finally {
    state.dispose();
  }
  return rows;
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
    const { logits } = await calls.decode(state, tokens, positions);
    for (const [r, row] of rows.entries()) {
      if (at === row.length - 1 && row.length < goals[r]!) {
        row.push(sampleToken(logits[r]!, row, sampling, streamOf(r), at));
      }
    }
  }
}
