/** @file The ways in which generation comes by log-probabilities of given tokens. */
import type { Session, SessionState } from '@quaver/executor';
import type { ModelCalls, TokenRows } from '../model-calls.ts';

/** The log-probability that a path gives to token `index` (from 1) of a sequence. */
export interface FoundLogprob {
  readonly index: number;
  readonly logprob: number;
}

export interface LogprobPath {
  readonly name: string;
  /** Sequences per call. */
  readonly batch: number;
  /** Whether the long sequence is among them; in all paths it would double what a check costs. */
  readonly long?: boolean;
  /** Why it finds nothing when it finds nothing for any sequence. */
  readonly otherwise?: string;
  /** Log-probabilities found for each of up to `batch` sequences. */
  logprobs(sequences: TokenRows): Promise<readonly (readonly FoundLogprob[])[]>;
}

/** Decoding at batch 1, 2, 3 and 8; prefill, whole and in pieces; scoring in chunks; whole sequences in a padded batch. */
export function generationPaths(session: Session, calls: ModelCalls): LogprobPath[] {
  const paths = new Paths(session, calls);
  return [
    ...[1, 2, 3, 8].map((batch) => ({
      name: `decode/batch-${batch}`,
      batch,
      long: batch === 2,
      logprobs: (sequences: TokenRows) => paths.decode(sequences),
    })),
    ...[1, 3].map((batch) => ({
      name: `prefill/batch-${batch}`,
      batch,
      logprobs: (sequences: TokenRows) => paths.prefill(sequences),
    })),
    {
      name: 'prefill/chunked',
      batch: 2,
      long: true,
      logprobs: (sequences: TokenRows) => paths.prefillPieces(sequences),
    },
    ...[1, 7, 32].map((chunk) => ({
      name: `score/chunk-${chunk}`,
      batch: 2,
      long: chunk === 32,
      logprobs: (sequences: TokenRows) => paths.score(sequences, chunk),
    })),
    { name: 'logprobs/batch-8', batch: 8, logprobs: (sequences: TokenRows) => paths.whole(sequences) },
  ];
}

/** How much of each sequence goes through one prefill. */
const prefillShares = [0.25, 0.6, 1];

/** Tokens of the pieces of a prefix, over and over: none is aligned with a block of keys. */
const pieceLengths = [5, 1, 31];

class Paths {
  readonly #session: Session;
  readonly #calls: ModelCalls;

  constructor(session: Session, calls: ModelCalls) {
    this.#session = session;
    this.#calls = calls;
  }

  /** Feeds the given tokens one by one; a sequence that has ended repeats its last token, and is not looked at. */
  async decode(sequences: TokenRows): Promise<FoundLogprob[][]> {
    const found: FoundLogprob[][] = sequences.map(() => []);
    const steps = longestOf(sequences) - 1;
    await this.#withState(sequences.length, steps, async (state) => {
      for (let at = 0; at < steps; at++) {
        const tokens = sequences.map((row) => row[Math.min(at, row.length - 1)]!);
        const positions = sequences.map(() => at);
        await this.#calls.decode(state, tokens, positions, ({ logprobs }) => {
          for (const [r, row] of sequences.entries()) {
            const next = row[at + 1];
            if (next !== undefined) found[r]!.push({ index: at + 1, logprob: logprobs[r]![next]! });
          }
        });
      }
    });
    return found;
  }

  /** Runs prefixes of several lengths through `prefill`, all rows padded to the longest. */
  async prefill(sequences: TokenRows): Promise<FoundLogprob[][]> {
    const found: FoundLogprob[][] = sequences.map(() => []);
    const starts = sequences.map(() => 0);
    for (const share of prefillShares) {
      const lengths = sequences.map((row) => Math.max(1, Math.floor((row.length - 1) * share)));
      const prefixes = sequences.map((row, r) => row.slice(0, lengths[r]));
      await this.#withState(sequences.length, Math.max(...lengths), async (state) => {
        await this.#calls.prefill(state, prefixes, starts, ({ logprobs }) => {
          for (const [r, row] of sequences.entries()) {
            const index = lengths[r]!;
            found[r]!.push({ index, logprob: logprobs[r]![row[index]!]! });
          }
        });
      });
    }
    return found;
  }

  /** Runs each sequence through `prefill` in pieces, all but the first at positions above 0. */
  async prefillPieces(sequences: TokenRows): Promise<FoundLogprob[][]> {
    const found: FoundLogprob[][] = sequences.map(() => []);
    const steps = longestOf(sequences) - 1;
    await this.#withState(sequences.length, steps, async (state) => {
      for (let from = 0, piece = 0; from < steps; piece++) {
        const to = Math.min(steps, from + pieceLengths[piece % pieceLengths.length]!);
        // A sequence that has ended repeats its last token, and is not looked at.
        const ends = sequences.map((row) => Math.min(row.length - 1, to));
        const tokens = sequences.map((row, r) => (ends[r]! > from ? row.slice(from, ends[r]) : row.slice(-1)));
        const start = from;
        const positions = sequences.map(() => start);
        await this.#calls.prefill(state, tokens, positions, ({ logprobs }) => {
          for (const [r, row] of sequences.entries()) {
            const index = ends[r]!;
            if (index > start) found[r]!.push({ index, logprob: logprobs[r]![row[index]!]! });
          }
        });
        from = to;
      }
    });
    return found;
  }

  /** Feeds the given tokens `chunk` at a time. */
  async score(sequences: TokenRows, chunk: number): Promise<FoundLogprob[][]> {
    const found: FoundLogprob[][] = sequences.map(() => []);
    const steps = longestOf(sequences) - 1;
    await this.#withState(sequences.length, steps, async (state) => {
      for (let from = 0; from < steps; from += chunk) {
        const tokens = sequences.map((row) => row.slice(from, Math.min(row.length - 1, from + chunk)));
        const targets = sequences.map((row) => row.slice(from + 1, from + 1 + chunk));
        const positions = sequences.map(() => from);
        const logprobs = await this.#calls.score(state, tokens, targets, positions);
        for (const [r, values] of logprobs.entries()) {
          for (const [t, logprob] of values.entries()) found[r]!.push({ index: from + t + 1, logprob });
        }
      }
    });
    return found;
  }

  /** Whole sequences of different lengths in one call. */
  async whole(sequences: TokenRows): Promise<FoundLogprob[][]> {
    const rows = await this.#calls.logprobs(
      sequences.map((row) => row.slice(0, -1)),
      sequences.map((row) => row.slice(1)),
    );
    return rows.map((row) => Array.from(row, (logprob, t) => ({ index: t + 1, logprob })));
  }

  async #withState(batch: number, capacity: number, work: (state: SessionState) => Promise<void>): Promise<void> {
    const state = this.#session.createState({ B: batch, C: capacity });
    try {
      await work(state);
    } finally {
      state.dispose();
    }
  }
}

function longestOf(sequences: TokenRows): number {
  return Math.max(...sequences.map((row) => row.length));
}
