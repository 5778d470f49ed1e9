import { abortedError, throwIfAborted } from '@quaver/executor';
import type { RolloutRequest } from './types.ts';

type MaybePromise<T> = T | Promise<T>;

/** Requests of a caller, taken one at a time and only when asked for. */
export class RequestSource {
  readonly #iterator: Iterator<RolloutRequest> | AsyncIterator<RolloutRequest>;
  /** Settles when the request that was asked for is there. */
  #pending: Promise<void> | undefined;
  #found: RolloutRequest | undefined;
  #error: { readonly thrown: unknown } | undefined;
  #ended = false;

  constructor(requests: Iterable<RolloutRequest> | AsyncIterable<RolloutRequest>) {
    this.#iterator = Symbol.asyncIterator in requests ? requests[Symbol.asyncIterator]() : requests[Symbol.iterator]();
  }

  /** No request is left. */
  get ended(): boolean {
    return this.#ended && !this.#found;
  }

  /** The next request if it is there already; it is asked for otherwise. @throws what the caller's iterator throws */
  poll(): RolloutRequest | undefined {
    this.#ask();
    if (this.#error) throw this.#error.thrown;
    const found = this.#found;
    this.#found = undefined;
    return found;
  }

  /** Waits until `poll` has something to say. @throws QuaverError `aborted` */
  async wait(signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    this.#ask();
    const pending = this.#pending;
    if (!pending || !signal) return pending;
    let stop = (): void => undefined;
    const aborted = new Promise<never>((_, reject) => {
      stop = () => reject(abortedError(signal));
      signal.addEventListener('abort', stop, { once: true });
    });
    await Promise.race([pending, aborted]).finally(() => signal.removeEventListener('abort', stop));
  }

  /** Tells the caller's iterator that nothing more will be asked for; nobody waits for its answer. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    Promise.resolve()
      .then(() => this.#iterator.return?.())
      .catch(() => undefined);
  }

  #ask(): void {
    if (this.#ended || this.#pending || this.#found) return;
    try {
      const next: MaybePromise<IteratorResult<RolloutRequest, unknown>> = this.#iterator.next();
      if (next instanceof Promise) this.#pending = next.then(this.#take.bind(this), this.#fail.bind(this));
      else this.#take(next);
    } catch (error) {
      this.#fail(error);
    }
  }

  #take({ done, value }: IteratorResult<RolloutRequest, unknown>): void {
    this.#pending = undefined;
    if (done) this.#ended = true;
    else this.#found = value as RolloutRequest;
  }

  #fail(thrown: unknown): void {
    this.#pending = undefined;
    this.#ended = true;
    this.#error = { thrown };
  }
}
