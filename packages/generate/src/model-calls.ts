import type { Session, SessionState } from '@quaver/executor';
import { findFunction, type HostTensor } from '@quaver/ir';

/** Token ids, one row per sequence; rows may differ in length. */
export type TokenRows = readonly (readonly number[])[];

/**
 * What the model says about the token after each sequence: f32 [V], one per sequence. Memory of the executor: it must not be
 * changed, and is gone when the function that reads it returns.
 */
export interface NextTokens {
  readonly logits: readonly Float32Array[];
  readonly logprobs: readonly Float32Array[];
}

/**
 * The functions of a language model on token ids instead of tensors. Rows are padded to the longest; what the model says
 * about the padding is not given back. `positions` is how many tokens of each sequence the KV cache holds already.
 */
export class ModelCalls {
  readonly #session: Session;
  readonly #signal: AbortSignal | undefined;

  /** All calls throw what `Session.run` throws. */
  constructor(session: Session, signal?: AbortSignal) {
    this.#session = session;
    this.#signal = signal;
  }

  /** Adds tokens, at least one per row, to the cache. */
  async fill(state: SessionState, rows: TokenRows, positions: readonly number[]): Promise<void> {
    await this.#run('prefill', prefillInputs(rows, positions), state, []);
  }

  /** Adds tokens, at least one per row, to the cache; what `read` makes of what follows the last of each row. */
  prefill<R>(
    state: SessionState,
    rows: TokenRows,
    positions: readonly number[],
    read: (next: NextTokens) => R,
  ): Promise<R> {
    return this.#read('prefill', prefillInputs(rows, positions), state, read);
  }

  /** Adds one token per sequence to the cache; what `read` makes of what follows it. */
  decode<R>(
    state: SessionState,
    tokens: readonly number[],
    positions: readonly number[],
    read: (next: NextTokens) => R,
  ): Promise<R> {
    const rows = tokens.map((token) => [token]);
    return this.#read('decode', { tokens: tokenMatrix(rows), position: perSequence(positions) }, state, read);
  }

  /** Adds tokens to the cache; the log-probability of each target as the token after its token. */
  async score(
    state: SessionState,
    rows: TokenRows,
    targets: TokenRows,
    positions: readonly number[],
  ): Promise<Float32Array[]> {
    const inputs = { tokens: tokenMatrix(rows), targets: tokenMatrix(targets), position: perSequence(positions) };
    const { logprobs } = await this.#run('score', inputs, state);
    return cutRows(logprobs!, rows);
  }

  /** Log-probabilities of targets over whole sequences, as training computes them: without a cache. */
  async logprobs(rows: TokenRows, targets: TokenRows): Promise<Float32Array[]> {
    const inputs = { tokens: tokenMatrix(rows), targets: tokenMatrix(targets) };
    // Recipes with delayed scaling read amax histories, which are state, even where there is no cache.
    const readsState = (findFunction(this.#session.module, 'logprobs')?.states.length ?? 0) > 0;
    const state = readsState ? this.#session.createState({ B: rows.length, C: 1 }) : undefined;
    try {
      const { logprobs } = await this.#run('logprobs', inputs, state);
      return cutRows(logprobs!, rows);
    } finally {
      state?.dispose();
    }
  }

  #run(name: string, inputs: Record<string, HostTensor>, state?: SessionState, outputs?: readonly string[]) {
    return this.#session.run(name, inputs, {
      ...(state ? { state } : {}),
      ...(outputs ? { outputs } : {}),
      ...(this.#signal ? { signal: this.#signal } : {}),
    });
  }

  #read<R>(
    name: string,
    inputs: Record<string, HostTensor>,
    state: SessionState,
    read: (next: NextTokens) => R,
  ): Promise<R> {
    const options = { state, ...(this.#signal ? { signal: this.#signal } : {}) };
    return this.#session.runAndRead(name, inputs, options, (outputs) => read(nextTokens(outputs)));
  }
}

function prefillInputs(rows: TokenRows, positions: readonly number[]): Record<string, HostTensor> {
  return {
    tokens: tokenMatrix(rows),
    position: perSequence(positions),
    last: perSequence(rows.map((row) => row.length - 1)),
  };
}

/** i32 [rows, longest]; short rows are padded with token 0. */
function tokenMatrix(rows: TokenRows): HostTensor {
  const columns = Math.max(...rows.map((row) => row.length));
  const data = new Int32Array(rows.length * columns);
  for (const [r, row] of rows.entries()) data.set(row, r * columns);
  return { type: { dtype: 'i32', shape: [rows.length, columns] }, data };
}

/** i32 [B]. */
function perSequence(values: readonly number[]): HostTensor {
  return { type: { dtype: 'i32', shape: [values.length] }, data: Int32Array.from(values) };
}

function nextTokens({ logits, logprobs }: Record<string, HostTensor>): NextTokens {
  return { logits: rowsOf(logits!), logprobs: rowsOf(logprobs!) };
}

/** The rows of f32 [B, N], as views. */
function rowsOf({ type, data }: HostTensor): Float32Array[] {
  const [count, columns] = type.shape as readonly [number, number];
  return Array.from({ length: count }, (_, r) => (data as Float32Array).subarray(r * columns, (r + 1) * columns));
}

/** The rows of f32 [B, T] without what belongs to padding. */
function cutRows(tensor: HostTensor, rows: TokenRows): Float32Array[] {
  return rowsOf(tensor).map((row, r) => row.subarray(0, rows[r]!.length));
}
