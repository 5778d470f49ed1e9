import { QuaverError } from '@quaver/numerics';

/** Threads beyond the processors only get in each other's way; this many are still allowed, to prove that they do no harm. */
const mostThreads = 1024;

/**
 * How many threads to use: the option, else `QUAVER_THREADS`, else one for each processor that this process may use.
 * @throws QuaverError `executor-option`
 */
export function chooseThreads(option: number | undefined): number {
  const { process } = globalThis;
  const named = process?.env?.QUAVER_THREADS;
  if (option === undefined && named !== undefined && named !== '') {
    return checked(Number(named), `QUAVER_THREADS is '${named}'`);
  }
  if (option !== undefined)
    return checked(option, `threads is ${typeof option === 'string' ? `'${option}'` : String(option)}`);
  return processors();
}

/** That this process may use. */
export function processors(): number {
  const { process, navigator } = globalThis;
  const os = process?.getBuiltinModule?.('node:os');
  return Math.max(1, os?.availableParallelism?.() ?? navigator?.hardwareConcurrency ?? 1);
}

/** Where the number comes from when no option gives it. */
export function threadsFrom(): string {
  return globalThis.process?.env?.QUAVER_THREADS ? 'QUAVER_THREADS' : 'the processors that this process may use';
}

function checked(threads: number, what: string): number {
  if (Number.isInteger(threads) && threads >= 1 && threads <= mostThreads) return threads;
  throw new QuaverError('executor-option', `${what}, expected a whole number from 1 to ${mostThreads}`, {
    hint: 'Leave it out to use every processor.',
  });
}
