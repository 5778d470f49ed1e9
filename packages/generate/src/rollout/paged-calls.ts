/** @file The functions of a language model with a paged cache, on sequences instead of tensors. */
import type { Session, SessionState } from '@quaver/executor';
import { findFunction, type HostTensor, type Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { paddedSize, SteadySize } from './batch-size.ts';
import type { Sequence } from './sequence.ts';

/**
 * Positions of one page of the module's cache.
 * @throws QuaverError `module-not-paged`
 */
export function pageTokensOf(module: Module): number {
  const [cache] = module.states.filter(({ type }) => type.shape[0] === 'P');
  const tokens = cache?.type.shape[1];
  const paged = ['prefill', 'decode'].every((name) =>
    findFunction(module, name)?.inputs.some((input) => input.name === 'pages'),
  );
  if (paged && typeof tokens === 'number') return tokens;
  throw new QuaverError('module-not-paged', `module '${module.name}' has no paged KV cache`, {
    hint: 'Give the module to pagedCache(…).',
  });
}

/** What the model says about the token after each sequence; memory of the executor, gone when its reader returns. */
export type ReadNext = (logits: Float32Array, logprobs: Float32Array, row: number) => void;

export interface PagedCallLimits {
  readonly maxSequences: number;
  readonly prefillTokens: number;
  /** Pages that one sequence may have. */
  readonly maxPages: number;
}

const none = -1;

export class PagedCalls {
  readonly #session: Session;
  readonly #limits: PagedCallLimits;
  readonly #prefillInputs = new CallInputs();
  readonly #decodeInputs = new CallInputs();
  readonly #decodeRows: SteadySize;
  readonly #tablePages: SteadySize;

  /** All calls throw what `Session.run` throws. */
  constructor(session: Session, limits: PagedCallLimits) {
    this.#session = session;
    this.#limits = limits;
    this.#decodeRows = new SteadySize(limits.maxSequences);
    this.#tablePages = new SteadySize(limits.maxPages);
  }

  /**
   * Computes up to `tokens` pending tokens of each sequence. `read` gets what follows those that have none pending then; where
   * there is no such sequence, nothing is brought back.
   */
  async prefill(
    state: SessionState,
    sequences: readonly Sequence[],
    tokens: number,
    signal: AbortSignal | undefined,
    read: ReadNext,
  ): Promise<void> {
    const inputs = this.#prefillInputs;
    const rows = paddedSize(sequences.length, Math.floor(this.#limits.prefillTokens / tokens));
    inputs.fill(sequences, rows, tokens, this.#tablePages.next(mostPages(sequences)));
    // Looked at before the first is read: who reads adds tokens.
    const complete = sequences.flatMap(({ pending }, row) => (pending <= tokens ? [row] : []));
    const wanted = complete.length > 0 ? {} : { outputs: [] };
    const options = { state, ...wanted, ...(signal ? { signal } : {}) };
    await this.#session.runAndRead('prefill', inputs.prefill, options, (outputs) => {
      for (const row of complete) readRow(outputs, row, read);
    });
  }

  /** Computes the one pending token of each sequence. */
  async decode(
    state: SessionState,
    sequences: readonly Sequence[],
    signal: AbortSignal | undefined,
    read: ReadNext,
  ): Promise<void> {
    const inputs = this.#decodeInputs;
    const rows = this.#decodeRows.next(sequences.length);
    inputs.fill(sequences, rows, 1, this.#tablePages.next(mostPages(sequences)));
    await this.#session.runAndRead('decode', inputs.decode, { state, ...(signal ? { signal } : {}) }, (outputs) => {
      for (let row = 0; row < sequences.length; row++) readRow(outputs, row, read);
    });
  }
}

/** Tensors of a call, kept while their sizes stay the same. */
class CallInputs {
  decode: Readonly<Record<'tokens' | 'position' | 'pages', HostTensor>> = {
    tokens: matrix(0, 0),
    position: vector(0),
    pages: matrix(0, 0),
  };
  prefill: Readonly<Record<'tokens' | 'position' | 'pages' | 'last', HostTensor>> = { ...this.decode, last: vector(0) };

  /** Rows beyond the sequences have no pages: what they compute is dropped. */
  fill(sequences: readonly Sequence[], rows: number, columns: number, tablePages: number): void {
    this.#resize(rows, columns, tablePages);
    const { tokens, position, pages, last } = this.prefill;
    tokens.data.fill(0);
    position.data.fill(0);
    last.data.fill(0);
    pages.data.fill(none);
    for (let row = 0; row < sequences.length; row++) {
      const sequence = sequences[row]!;
      const count = Math.min(columns, sequence.pending);
      for (let i = 0; i < count; i++) tokens.data[row * columns + i] = sequence.tokens[sequence.computed + i]!;
      position.data[row] = sequence.computed;
      last.data[row] = count - 1;
      pages.data.set(sequence.pages, row * tablePages);
    }
  }

  #resize(rows: number, columns: number, tablePages: number): void {
    const same = (tensor: HostTensor, ...shape: number[]) =>
      shape.every((dim, axis) => tensor.type.shape[axis] === dim);
    const { tokens, pages } = this.decode;
    if (same(tokens, rows, columns) && same(pages, rows, tablePages)) return;
    this.decode = { tokens: matrix(rows, columns), position: vector(rows), pages: matrix(rows, tablePages) };
    this.prefill = { ...this.decode, last: vector(rows) };
  }
}

function readRow({ logits, logprobs }: Record<string, HostTensor>, row: number, read: ReadNext): void {
  const columns = logits!.type.shape[1]!;
  const rowOf = ({ data }: HostTensor) => (data as Float32Array).subarray(row * columns, (row + 1) * columns);
  read(rowOf(logits!), rowOf(logprobs!), row);
}

function mostPages(sequences: readonly Sequence[]): number {
  return sequences.reduce((most, { pages }) => Math.max(most, pages.length), 1);
}

function matrix(rows: number, columns: number): HostTensor & { readonly data: Int32Array } {
  return { type: { dtype: 'i32', shape: [rows, columns] }, data: new Int32Array(rows * columns) };
}

function vector(length: number): HostTensor & { readonly data: Int32Array } {
  return { type: { dtype: 'i32', shape: [length] }, data: new Int32Array(length) };
}
