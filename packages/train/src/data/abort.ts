import { QuaverError } from '@quaver/numerics';

const aborted = (signal: AbortSignal) =>
  new QuaverError('aborted', 'reading the data was stopped on request', { cause: signal.reason });

/** @throws QuaverError `aborted` once `signal` has fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/**
 * What `promise` gives, unless `signal` fires first.
 * @throws QuaverError `aborted`
 */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  // Nobody comes for it after an abort.
  promise.catch(() => undefined);
  throwIfAborted(signal);
  let stop = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(aborted(signal));
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([promise, stopped]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
