/** @file Sampled sequences as micro-batches of a training step: one sequence in a row, rows of about one length together. */
import type { LossBatch } from '@quaver/train';

/** A prompt and what was sampled after it. */
export interface SampledSequence {
  readonly prompt: readonly number[];
  /** At least one. */
  readonly tokens: readonly number[];
}

/** A micro-batch, and which sequences its rows are. */
export interface SequenceBatch extends Omit<LossBatch, 'inputs'> {
  /** Index of the sequence of each row. */
  readonly sequences: readonly number[];
}

export interface SequenceBatchOptions {
  /** Tokens of a micro-batch, padding included; a longer sequence has a batch of its own. */
  readonly tokens: number;
  /** Positions of the model: no row is longer. */
  readonly context: number;
}

/** Row lengths are multiples of this, so that few shapes occur. */
const lengthStep = 16;

/**
 * The longest sequences come first; equal lengths keep their order. Where in which batch a sequence is does not change its
 * log-probabilities.
 */
export function sequenceBatches(
  sequences: readonly SampledSequence[],
  { tokens: limit, context }: SequenceBatchOptions,
): SequenceBatch[] {
  const lengths = sequences.map(({ prompt, tokens }) => prompt.length + tokens.length - 1);
  const order = sequences.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: SequenceBatch[] = [];
  for (let from = 0; from < order.length; ) {
    const rowTokens = Math.min(context, Math.ceil(lengths[order[from]!]! / lengthStep) * lengthStep);
    const rows = Math.max(1, Math.floor(limit / rowTokens));
    batches.push(batchOf(sequences, order.slice(from, from + rows), rowTokens));
    from += rows;
  }
  return batches;
}

function batchOf(all: readonly SampledSequence[], sequences: readonly number[], rowTokens: number): SequenceBatch {
  const rows = sequences.length;
  const size = rows * rowTokens;
  const batch = {
    tokens: new Int32Array(size),
    targets: new Int32Array(size),
    mask: new Float32Array(size),
    position: Int32Array.from({ length: size }, (_, i) => i % rowTokens),
    firstKey: new Int32Array(size),
  };
  for (const [row, index] of sequences.entries()) {
    const { prompt, tokens } = all[index]!;
    const sequence = [...prompt, ...tokens];
    const base = row * rowTokens;
    batch.tokens.set(sequence.slice(0, -1), base);
    batch.targets.set(sequence.slice(1), base);
    batch.mask.fill(1, base + prompt.length - 1, base + sequence.length - 1);
  }
  return { rows, rowTokens, ...batch, sequences };
}

/** A number for each sampled token of each sequence, as [rows, rowTokens]; 0 elsewhere. */
export function perToken(
  batch: SequenceBatch,
  sequences: readonly SampledSequence[],
  valuesOf: (sequence: number) => ArrayLike<number>,
): Float32Array {
  const out = new Float32Array(batch.rows * batch.rowTokens);
  for (const [row, index] of batch.sequences.entries()) {
    const { prompt, tokens } = sequences[index]!;
    const values = valuesOf(index);
    for (let t = 0; t < tokens.length; t++) out[row * batch.rowTokens + prompt.length - 1 + t] = values[t]!;
  }
  return out;
}

/** The other way round: the numbers of the sampled tokens of every sequence, by index. */
export function perSequence(
  batches: readonly SequenceBatch[],
  sequences: readonly SampledSequence[],
  values: readonly Float32Array[],
): Float32Array[] {
  const out: Float32Array[] = new Array(sequences.length);
  for (const [b, batch] of batches.entries()) {
    for (const [row, index] of batch.sequences.entries()) {
      const { prompt, tokens } = sequences[index]!;
      const from = row * batch.rowTokens + prompt.length - 1;
      out[index] = values[b]!.slice(from, from + tokens.length);
    }
  }
  return out;
}
