import { QuaverError } from '@quaver/numerics';

/** The error of work that a signal stopped; its cause is the signal's reason. */
export function abortedError(signal: AbortSignal): QuaverError {
  return new QuaverError('aborted', 'the run was stopped before it ended', { cause: signal.reason });
}

/** @throws QuaverError `aborted` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal);
}

/** Waits for `work`, but no longer than until the signal; the work itself goes on. Rejects with `aborted`. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const stop = () => reject(abortedError(signal));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
