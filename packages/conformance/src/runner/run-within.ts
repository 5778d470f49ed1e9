import type { Outcome } from './case.ts';
import { outcomeOfError } from './outcome.ts';

/**
 * Runs a case, but waits no longer than `timeoutMs`, and not at all once the signal has fired: an executor that never
 * answers must not stop the others. Without a result in time it gives `silent`.
 */
export async function runWithin(
  run: () => Promise<Outcome>,
  signal: AbortSignal,
  timeoutMs: number,
  silent: Outcome,
): Promise<Outcome> {
  let stop = (): void => undefined;
  const ended = new Promise<Outcome>((resolve) => {
    const timer = setTimeout(() => resolve(silent), timeoutMs);
    const onAbort = () => resolve({ status: 'failed', reason: 'stopped' });
    signal.addEventListener('abort', onAbort, { once: true });
    stop = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
  });
  try {
    return await Promise.race([run(), ended]);
  } catch (error) {
    return outcomeOfError(error);
  } finally {
    stop();
  }
}
