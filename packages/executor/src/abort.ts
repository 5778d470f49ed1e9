import { QuaverError } from '@quaver/numerics';

/** The error of work that a signal stopped; its cause is the signal's reason. */
export function abortedError(signal: AbortSignal): QuaverError {
  return new QuaverError('aborted', 'the run was stopped before it ended', { cause: signal.reason });
}

/** @throws QuaverError `aborted` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal);
}

/** Who waits for a signal. One listener serves them all: any number of calls may share a signal. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `stop` when the signal fires; the function that comes back takes that back. */
function whenAborted(signal: AbortSignal, stop: () => void): () => void {
  let stops = waiting.get(signal);
  if (!stops) {
    const all = new Set<() => void>();
    waiting.set(signal, all);
    signal.addEventListener('abort', () => all.forEach((each) => void each()), { once: true });
    stops = all;
  }
  const own = stops;
  own.add(stop);
  return () => void own.delete(stop);
}

/** Waits for `work`, but no longer than until the signal; the work itself goes on. Rejects with `aborted`. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  if (signal.aborted) {
    work.catch(() => undefined);
    return Promise.reject(abortedError(signal));
  }
  return new Promise((resolve, reject) => {
    const forget = whenAborted(signal, () => reject(abortedError(signal)));
    work.then(resolve, reject).finally(forget);
  });
}
