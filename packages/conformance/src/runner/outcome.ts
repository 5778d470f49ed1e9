import { QuaverError } from '@quaver/numerics';
import type { Outcome } from './case.ts';

const failed = 'conformance-failed';

/** What a case throws when the executor did not do what it must. */
export function caseFailure(reason: string): QuaverError {
  return new QuaverError(failed, reason);
}

/** The code of an error. Not by class: a stranger's package may have a copy of @quaver/numerics of its own. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

export function errorText(error: unknown): string {
  const code = codeOf(error);
  return code === undefined ? String(error) : `[${code}] ${(error as Error).message}`;
}

/** What went wrong first, where disposing of what is left went wrong, too. */
function firstError(error: unknown): unknown {
  return error instanceof Error && error.name === 'SuppressedError' && 'suppressed' in error
    ? firstError(error.suppressed)
    : error;
}

/** The outcome of work that threw: a node that `supports` refused is not a failure, if it was said why. */
export function outcomeOfError(thrown: unknown): Outcome {
  const error = firstError(thrown);
  if (codeOf(error) === failed) return { status: 'failed', reason: (error as Error).message };
  if (!(error instanceof QuaverError && error.code === 'node-unsupported')) {
    return { status: 'failed', reason: `it threw ${errorText(error)}` };
  }
  const { op, reason: code } = error.where;
  if (typeof code !== 'string' || code === '') {
    return { status: 'failed', reason: `supports() refused ${op} without a code: ${error.message}` };
  }
  return { status: 'unsupported', reason: `[${code}] ${error.message}` };
}
