import type { Session, SessionState } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { type PagedCallLimits, PagedCalls, pageTokensOf, type ReadNext } from './paged-calls.ts';
import type { RolloutModel } from './rollout-run.ts';
import type { Sequence } from './sequence.ts';

/** Executor failures in a row, without a call that went well in between, after which nothing is tried again. */
const mostFailures = 3;

export interface PagedModelOptions extends PagedCallLimits {
  /** Of the cache. */
  readonly pages: number;
  readonly reopen: ((error: unknown) => Promise<Session>) | undefined;
}

/** A session with its paged cache, which can be had anew. */
export class PagedModel implements RolloutModel {
  readonly #options: PagedModelOptions;
  readonly #pageTokens: number;
  #session: Session;
  #calls: PagedCalls;
  #state: SessionState | undefined;
  #failures = 0;
  #closed = false;

  constructor(session: Session, options: PagedModelOptions) {
    this.#options = options;
    this.#pageTokens = pageTokensOf(session.module);
    this.#session = session;
    this.#calls = new PagedCalls(session, options);
  }

  async prefill(
    sequences: readonly Sequence[],
    tokens: number,
    signal: AbortSignal | undefined,
    read: ReadNext,
  ): Promise<void> {
    await this.#calls.prefill(this.allocate(), sequences, tokens, signal, read);
    this.#failures = 0;
  }

  async decode(sequences: readonly Sequence[], signal: AbortSignal | undefined, read: ReadNext): Promise<void> {
    await this.#calls.decode(this.allocate(), sequences, signal, read);
    this.#failures = 0;
  }

  /** The cache, made if there is none. @throws QuaverError `rollout-closed`, and what `Session.createState` throws */
  allocate(): SessionState {
    if (this.#closed) throw new QuaverError('rollout-closed', 'a rollout engine is used after dispose()');
    this.#state ??= this.#session.createState({ P: this.#options.pages }, ['prefill', 'decode']);
    return this.#state;
  }

  /** Gives the cache back; the next call has an empty one. */
  forget(): void {
    this.#state?.dispose();
    this.#state = undefined;
  }

  /** Gives the cache back for good: a run that goes on must not find an empty one. */
  close(): void {
    this.#closed = true;
    this.forget();
  }

  /**
   * Goes on with another session and an empty cache.
   * @throws QuaverError `rollout-executor-failed`, and what `reopen` throws
   */
  async recover(error: unknown): Promise<void> {
    const { reopen } = this.#options;
    if (this.#closed) throw error;
    if (!reopen) throw failed(error, 'the engine has no `reopen`', 'Open the engine with the option `reopen`.');
    if (++this.#failures >= mostFailures) throw failed(error, `it was reopened ${mostFailures - 1} times`);
    this.forget();
    const session = await reopen(error);
    const pageTokens = pageTokensOf(session.module);
    if (pageTokens !== this.#pageTokens) {
      throw failed(error, `its pages hold ${pageTokens} tokens after reopening, expected ${this.#pageTokens}`);
    }
    this.#session = session;
    this.#calls = new PagedCalls(session, this.#options);
  }
}

function failed(cause: unknown, why: string, hint?: string): QuaverError {
  const what = cause instanceof Error ? cause.message : String(cause);
  return new QuaverError('rollout-executor-failed', `a rollout cannot go on, ${why}: ${what}`, {
    cause,
    ...(hint ? { hint } : {}),
  });
}
