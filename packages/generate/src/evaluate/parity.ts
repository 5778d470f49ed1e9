/**
 * @file Do generation and training see the same numbers? The log-probabilities of whole sequences (function
 * `logprobs`, one sequence at a time) are compared, bit for bit, with those of every way to generate: decoding at
 * several batch sizes, prefill, scoring in chunks, and whole sequences in a padded batch.
 */
import type { Session, SessionState } from '@quaver/executor';
import { mismatchMetrics } from '@quaver/numerics';
import { modelLimits } from '../generate.ts';
import { uniform } from '../sampling/random.ts';
import { resolveSampling, sampleToken } from '../sampling/sampler.ts';
import { f32Row, perSequence, tokenMatrix } from '../sequence.ts';

export interface ParityOptions {
  /** Sampled tokens to compare in each case; default 256. */
  readonly tokens?: number;
  readonly seed?: number;
  /** Names the KV cache of this module in the report. */
  readonly kvCache?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ParityProgress) => void;
}

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
  readonly tokens: number;
  readonly mismatched_tokens: number;
  readonly max_abs_logprob_diff: number;
  readonly token_mult_prob_error: number;
}

export interface ParityReport extends Omit<ParityCase, 'name' | 'kv_cache'> {
  readonly cases: readonly ParityCase[];
}

/** Sequences are made in groups of this many, of different lengths. */
const groupSize = 8;
const prefixLimit = 12;
const decodeBatches = [1, 2, 3, 8] as const;
const scoreChunks = [1, 7, 32] as const;

/** @throws QuaverError what the session throws */
export async function parity(session: Session, options: ParityOptions = {}): Promise<ParityReport> {
  const run = new ParityRun(session, options);
  const sequences = await run.sampleSequences();
  const cases = await run.compareAll(sequences);
  return mergeParity(cases);
}

/** The report over cases, for example of one module with several KV caches. */
export function mergeParity(cases: readonly ParityCase[]): ParityReport {
  const tokens = cases.reduce((sum, item) => sum + item.tokens, 0);
  const mismatched = cases.reduce((sum, item) => sum + item.mismatched_tokens, 0);
  // Averaging exact ones in floating point may miss 1 by an ULP: without a mismatch the answer is 1 by definition.
  const weighted = cases.reduce((sum, item) => sum + item.token_mult_prob_error * item.tokens, 0) / tokens;
  return {
    tokens,
    mismatched_tokens: mismatched,
    max_abs_logprob_diff: Math.max(...cases.map((item) => item.max_abs_logprob_diff)),
    token_mult_prob_error: mismatched === 0 ? 1 : weighted,
    cases,
  };
}

interface Sequence {
  readonly tokens: readonly number[];
  /** Log-probabilities of tokens 1…, from `logprobs` on this sequence alone. */
  readonly expected: Float32Array;
}

/** Log-probabilities found for one sequence: pairs of token index and value. */
type Found = readonly (readonly [index: number, logprob: number])[];

class ParityRun {
  readonly #session: Session;
  readonly #options: ParityOptions;
  readonly #seed: number;
  readonly #context: number;
  readonly #vocabSize: number;

  constructor(session: Session, options: ParityOptions) {
    this.#session = session;
    this.#options = options;
    this.#seed = options.seed ?? 0;
    const { context, vocabSize } = modelLimits(session);
    this.#context = context;
    this.#vocabSize = vocabSize;
  }

  /** Samples at temperature 1, eight sequences at a time, from random prefixes of different lengths. */
  async sampleSequences(): Promise<Sequence[]> {
    const wanted = this.#options.tokens ?? 256;
    const longest = Math.min(this.#context, 512);
    const sequences: Sequence[] = [];
    for (let made = 0; made < wanted; ) {
      const fresh = Math.max(1, Math.min(Math.ceil((wanted - made) / groupSize), longest - prefixLimit));
      for (const tokens of await this.#sampleGroup(sequences.length, fresh)) {
        sequences.push({ tokens, expected: await this.#wholeSequence(tokens) });
        made += fresh;
      }
      this.#progress('sample', Math.min(made, wanted), wanted);
    }
    return sequences;
  }

  async compareAll(sequences: readonly Sequence[]): Promise<ParityCase[]> {
    const cases: ParityCase[] = [];
    for (const batch of decodeBatches) {
      cases.push(await this.#case(`decode/batch-${batch}`, sequences, batch, (group) => this.#decode(group)));
    }
    cases.push(await this.#case('prefill/batch-1', sequences, 1, (group) => this.#prefill(group)));
    cases.push(await this.#case('prefill/batch-3', sequences, 3, (group) => this.#prefill(group)));
    for (const chunk of scoreChunks) {
      cases.push(await this.#case(`score/chunk-${chunk}`, sequences, 2, (group) => this.#score(group, chunk)));
    }
    cases.push(await this.#case('logprobs/batch-8', sequences, groupSize, (group) => this.#batchedLogprobs(group)));
    return cases;
  }

  async #sampleGroup(first: number, fresh: number): Promise<number[][]> {
    const limit = Math.min(prefixLimit, this.#context - fresh);
    const rows = Array.from({ length: groupSize }, (_, row) =>
      Array.from({ length: 1 + (row % Math.max(1, limit)) }, (_, i) =>
        Math.floor(uniform(this.#seed, 2 * (first + row), i) * this.#vocabSize),
      ),
    );
    const sampling = resolveSampling({ temperature: 1, seed: this.#seed });
    const goal = rows.map((row) => row.length + fresh);
    const capacity = Math.max(...goal);
    await this.#withState(rows.length, capacity, async (state) => {
      for (let at = 0; at + 1 < capacity; at++) {
        const logits = await this.#decodeStep(
          state,
          rows.map((row) => row[Math.min(at, row.length - 1)]!),
          at,
        );
        rows.forEach((row, r) => {
          if (at === row.length - 1 && row.length < goal[r]!) {
            row.push(sampleToken(f32Row(logits.logits!, r), row, sampling, 2 * (first + r) + 1, at));
          }
        });
      }
    });
    return rows;
  }

  async #wholeSequence(tokens: readonly number[]): Promise<Float32Array> {
    const rows = await this.#batchedLogprobs([{ tokens, expected: new Float32Array(0) }]);
    return Float32Array.from(rows[0]!, ([, logprob]) => logprob);
  }

  async #case(
    name: string,
    sequences: readonly Sequence[],
    batch: number,
    find: (group: readonly Sequence[]) => Promise<Found[]>,
  ): Promise<ParityCase> {
    const generated: number[] = [];
    const trained: number[] = [];
    for (let from = 0; from < sequences.length; from += batch) {
      const group = sequences.slice(from, from + batch);
      const found = await find(group);
      group.forEach(({ expected }, row) => {
        for (const [index, logprob] of found[row]!) {
          generated.push(logprob);
          trained.push(expected[index - 1]!);
        }
      });
      this.#progress(name, Math.min(from + batch, sequences.length), sequences.length);
    }
    const metrics = mismatchMetrics(Float32Array.from(generated), Float32Array.from(trained));
    return {
      name,
      kv_cache: this.#options.kvCache ?? 'as compiled',
      tokens: generated.length,
      mismatched_tokens: metrics.mismatched_tokens,
      max_abs_logprob_diff: metrics.max_abs_logprob_diff,
      token_mult_prob_error: metrics.token_mult_prob_error,
    };
  }

  /** Feeds the given tokens one by one; a sequence that has ended repeats its last token, and is not looked at. */
  async #decode(group: readonly Sequence[]): Promise<Found[]> {
    const found: [number, number][][] = group.map(() => []);
    const steps = Math.max(...group.map(({ tokens }) => tokens.length)) - 1;
    await this.#withState(group.length, steps, async (state) => {
      for (let at = 0; at < steps; at++) {
        const outputs = await this.#decodeStep(
          state,
          group.map(({ tokens }) => tokens[Math.min(at, tokens.length - 1)]!),
          at,
        );
        group.forEach(({ tokens }, row) => {
          const next = tokens[at + 1];
          if (next !== undefined) found[row]!.push([at + 1, f32Row(outputs.logprobs!, row)[next]!]);
        });
      }
    });
    return found;
  }

  /** Runs prefixes of several lengths through `prefill`, all rows padded to the longest. */
  async #prefill(group: readonly Sequence[]): Promise<Found[]> {
    const found: [number, number][][] = group.map(() => []);
    for (const share of [0.1, 0.25, 0.5, 0.75, 0.9, 1]) {
      const lengths = group.map(({ tokens }) => Math.max(1, Math.floor((tokens.length - 1) * share)));
      const columns = Math.max(...lengths);
      await this.#withState(group.length, columns, async (state) => {
        const { logprobs } = await this.#run(
          'prefill',
          {
            tokens: tokenMatrix(
              group.map(({ tokens }, row) => tokens.slice(0, lengths[row])),
              columns,
            ),
            position: perSequence(lengths.map(() => 0)),
            last: perSequence(lengths.map((length) => length - 1)),
          },
          state,
        );
        group.forEach(({ tokens }, row) => {
          const index = lengths[row]!;
          found[row]!.push([index, f32Row(logprobs!, row)[tokens[index]!]!]);
        });
      });
    }
    return found;
  }

  async #score(group: readonly Sequence[], chunk: number): Promise<Found[]> {
    const found: [number, number][][] = group.map(() => []);
    const steps = Math.max(...group.map(({ tokens }) => tokens.length)) - 1;
    await this.#withState(group.length, steps, async (state) => {
      for (let from = 0; from < steps; from += chunk) {
        const columns = Math.min(chunk, steps - from);
        const { logprobs } = await this.#run(
          'score',
          {
            tokens: tokenMatrix(
              group.map(({ tokens }) => tokens.slice(from, from + columns)),
              columns,
            ),
            targets: tokenMatrix(
              group.map(({ tokens }) => tokens.slice(from + 1, from + 1 + columns)),
              columns,
            ),
            position: perSequence(group.map(() => from)),
          },
          state,
        );
        group.forEach(({ tokens }, row) => {
          for (let t = 0; t < columns && from + t + 1 < tokens.length; t++) {
            found[row]!.push([from + t + 1, f32Row(logprobs!, row)[t]!]);
          }
        });
      }
    });
    return found;
  }

  async #batchedLogprobs(group: readonly Sequence[]): Promise<Found[]> {
    const columns = Math.max(...group.map(({ tokens }) => tokens.length)) - 1;
    const { logprobs } = await this.#run('logprobs', {
      tokens: tokenMatrix(
        group.map(({ tokens }) => tokens),
        columns,
      ),
      targets: tokenMatrix(
        group.map(({ tokens }) => tokens.slice(1)),
        columns,
      ),
    });
    return group.map(({ tokens }, row) =>
      tokens.slice(1).map((_, t): [number, number] => [t + 1, f32Row(logprobs!, row)[t]!]),
    );
  }

  #decodeStep(state: SessionState, tokens: readonly number[], position: number) {
    const inputs = {
      tokens: tokenMatrix(
        tokens.map((token) => [token]),
        1,
      ),
      position: perSequence(tokens.map(() => position)),
    };
    return this.#run('decode', inputs, state);
  }

  #run(name: string, inputs: Parameters<Session['run']>[1], state?: SessionState) {
    const { signal } = this.#options;
    return this.#session.run(name, inputs, { ...(state ? { state } : {}), ...(signal ? { signal } : {}) });
  }

  async #withState(batch: number, capacity: number, use: (state: SessionState) => Promise<void>): Promise<void> {
    const state = this.#session.createState({ B: batch, C: Math.max(1, capacity) });
    try {
      await use(state);
    } finally {
      state.dispose();
    }
  }

  #progress(name: string, done: number, total: number): void {
    this.#options.onProgress?.({ phase: 'parity', case: name, done, total });
  }
}
