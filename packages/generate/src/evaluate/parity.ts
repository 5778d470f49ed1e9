/**
 * @file Do generation and training see the same numbers? The log-probabilities of whole sequences (function
 * `logprobs`, one sequence at a time) are compared, bit for bit, with those of every way to generate: decoding at
 * several batch sizes, prefill (whole and in pieces), scoring in chunks, and whole sequences in a padded batch.
 */
import type { Session } from '@quaver/executor';
import { mismatchMetrics, QuaverError } from '@quaver/numerics';
import { ModelCalls } from '../model-calls.ts';
import { modelLimits } from '../model-limits.ts';
import { resolveSampling } from '../sampling/sampler.ts';
import { generationPaths, type LogprobPath } from './generation-paths.ts';
import { longSequence, type SampledSequence, sampleSequences } from './sample-sequences.ts';

/** So few tokens are for a quick look. */
const longFrom = 64;

export interface ParityOptions {
  /**
   * Sampled tokens to compare in each case, rounded up to whole sequences; default 64. From 64 on, some cases compare a
   * sequence of 140 tokens besides.
   */
  readonly tokens?: number;
  readonly seed?: number;
  /** Names the KV cache of this module in the report. */
  readonly kvCache?: string;
  /** Other ways to come by log-probabilities of the same weights, such as the functions of a training step. */
  readonly others?: readonly LogprobPath[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ParityProgress) => void;
}

/** Tokens sampled (case `sample`), then sequences compared in each case. */
export interface ParityProgress {
  readonly phase: 'parity';
  readonly case: string;
  readonly done: number;
  readonly total: number;
}

/** One way to get log-probabilities, against `logprobs` on each whole sequence alone. */
export interface ParityCase {
  readonly name: string;
  readonly kv_cache: string;
  /** Log-probabilities compared. */
  readonly tokens: number;
  readonly mismatched_tokens: number;
  readonly max_abs_logprob_diff: number;
  readonly token_mult_prob_error: number;
}

/** A case that could not be compared. */
export interface LeftOutCase {
  readonly name: string;
  readonly kv_cache: string;
  readonly reason: string;
}

export interface ParityReport extends Omit<ParityCase, 'name' | 'kv_cache'> {
  readonly cases: readonly ParityCase[];
  readonly left_out: readonly LeftOutCase[];
}

/**
 * Samples sequences from the model and compares their log-probabilities over all ways to generate.
 * @throws QuaverError `parity-tokens`, `sampling-invalid`, `module-not-a-language-model`, `aborted`, and what the
 *   session throws
 */
export async function parity(session: Session, options: ParityOptions = {}): Promise<ParityReport> {
  const { tokens = 64, seed = 0, kvCache = 'as compiled', others = [], signal, onProgress } = options;
  if (!(Number.isInteger(tokens) && tokens > 0)) {
    throw new QuaverError('parity-tokens', `parity over ${tokens} tokens`, { hint: 'Give a positive integer.' });
  }
  const progress = (name: string) => (done: number, total: number) =>
    onProgress?.({ phase: 'parity', case: name, done, total });
  const calls = new ModelCalls(session, signal);
  const limits = modelLimits(session.module);
  const sampling = resolveSampling({ temperature: 1, seed });
  const context = { session, calls, limits, sampling, onProgress: progress('sample') };
  const sampled = await sampleSequences(context, tokens);
  const long = tokens >= longFrom ? await longSequence(context, sampled) : undefined;
  const cases: ParityCase[] = [];
  const leftOut: LeftOutCase[] = [];
  for (const path of [...generationPaths(session, calls), ...others]) {
    const found = await compare(path, path.long && long ? [long, ...sampled] : sampled, progress(path.name));
    const named = { name: path.name, kv_cache: kvCache };
    if (found) cases.push({ ...named, ...found });
    else leftOut.push({ ...named, reason: path.otherwise ?? 'it gives no log-probabilities' });
  }
  return mergeParity(cases, leftOut);
}

/**
 * The report over cases, for example of one module with several KV caches.
 * @throws QuaverError `mismatch-no-tokens` when there is no case
 */
export function mergeParity(cases: readonly ParityCase[], leftOut: readonly LeftOutCase[] = []): ParityReport {
  const total = (value: (item: ParityCase) => number) => cases.reduce((sum, item) => sum + value(item), 0);
  const tokens = total((item) => item.tokens);
  if (tokens === 0) {
    throw new QuaverError('mismatch-no-tokens', 'a parity report over no case', { hint: 'Compare at least one.' });
  }
  return {
    tokens,
    mismatched_tokens: total((item) => item.mismatched_tokens),
    max_abs_logprob_diff: Math.max(...cases.map((item) => item.max_abs_logprob_diff)),
    token_mult_prob_error: total((item) => item.token_mult_prob_error * item.tokens) / tokens,
    cases,
    left_out: leftOut,
  };
}

/** Undefined when the path finds nothing for any of the sequences. */
async function compare(
  path: LogprobPath,
  sequences: readonly SampledSequence[],
  onProgress: (done: number, total: number) => void,
): Promise<Omit<ParityCase, 'name' | 'kv_cache'> | undefined> {
  const generated: number[] = [];
  const trained: number[] = [];
  for (let from = 0; from < sequences.length; from += path.batch) {
    const group = sequences.slice(from, from + path.batch);
    const found = await path.logprobs(group.map(({ tokens }) => tokens));
    for (const [row, { logprobs }] of group.entries()) {
      for (const { index, logprob } of found[row]!) {
        generated.push(logprob);
        trained.push(logprobs[index - 1]!);
      }
    }
    onProgress(Math.min(from + path.batch, sequences.length), sequences.length);
  }
  if (generated.length === 0) return undefined;
  const metrics = mismatchMetrics(Float32Array.from(generated), Float32Array.from(trained));
  return {
    tokens: metrics.tokens,
    mismatched_tokens: metrics.mismatched_tokens,
    max_abs_logprob_diff: metrics.max_abs_logprob_diff,
    token_mult_prob_error: metrics.token_mult_prob_error,
  };
}
