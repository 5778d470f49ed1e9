import { QuaverError } from '@quaver/numerics';
import type { Fence } from './contract.ts';

/** In-order asynchronous submissions for executors that run on the host: each starts when the one before has ended. */
export class SubmissionQueue {
  readonly #pending = new Map<Fence, Promise<void>>();
  #tail: Promise<unknown> = Promise.resolve();
  #next = 1;
  #closed = false;

  /** @throws QuaverError `executor-disposed` */
  submit(run: () => Promise<void>): Fence {
    this.assertOpen();
    const fence = { id: this.#next++ };
    const done = this.#tail.then(run);
    // The tail must go on after a failed submission; the failure itself is delivered by wait().
    this.#tail = done.catch(() => undefined);
    this.#pending.set(fence, done);
    return fence;
  }

  /**
   * Settles with the submission; a fence can be waited for once.
   * @throws QuaverError `fence-unknown`, or what the submission threw
   */
  async wait(fence: Fence): Promise<void> {
    const done = this.#pending.get(fence);
    if (!done) {
      throw new QuaverError('fence-unknown', `fence ${fence.id} was never submitted here, or was already waited for`, {
        hint: 'Wait once for every fence, on the executor that gave it.',
      });
    }
    this.#pending.delete(fence);
    await done;
  }

  /** @throws QuaverError `executor-disposed` after `close` */
  assertOpen(): void {
    if (!this.#closed) return;
    throw new QuaverError('executor-disposed', 'the executor is used after it was disposed', {
      hint: 'Dispose sessions first, then their executor.',
    });
  }

  /** Takes no more submissions; settles when those already here have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#tail;
  }
}
