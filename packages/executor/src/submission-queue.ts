import { QuaverError } from '@quaver/numerics';
import type { Fence } from './contract.ts';

/** In-order asynchronous submissions for executors that run on the host: each starts when the one before has ended. */
export class SubmissionQueue {
  readonly #pending = new Map<number, Promise<void>>();
  #tail: Promise<unknown> = Promise.resolve();
  #next = 1;

  submit(run: () => Promise<void>): Fence {
    const fence = { id: this.#next++ };
    const done = this.#tail.then(run);
    // The tail must go on after a failed submission; the failure itself is delivered by wait().
    this.#tail = done.catch(() => undefined);
    this.#pending.set(fence.id, done);
    done.catch(() => undefined);
    return fence;
  }

  /** @throws QuaverError `fence-unknown`, or what the submission threw */
  async wait(fence: Fence): Promise<void> {
    const done = this.#pending.get(fence.id);
    if (!done) {
      throw new QuaverError('fence-unknown', `fence ${fence.id} was never submitted here, or was already waited for`);
    }
    this.#pending.delete(fence.id);
    await done;
  }

  /** Settles when nothing is running. */
  async idle(): Promise<void> {
    await this.#tail;
  }
}

/** Lets timers, signals and I/O run. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}

/** @throws QuaverError `aborted` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new QuaverError('aborted', 'the run was stopped before it ended', { cause: signal.reason });
}
