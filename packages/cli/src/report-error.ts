import { QuaverError } from '@quaver/numerics';
import { CommanderError } from 'commander';
import { type Output, styleFor } from './terminal/style.ts';

/** A command line that cannot be run. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** An error as people and programs read it. */
export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly where: Readonly<Record<string, string | number>>;
  readonly exitCode: number;
}

export const exitFailure = 1;
const exitUsage = 2;

export function describeError(error: unknown, helpCommand: string): ErrorReport {
  if (error instanceof CommanderError || error instanceof UsageError) {
    const hint = (error instanceof UsageError ? error.hint : undefined) ?? `See \`${helpCommand} --help\`.`;
    return { code: 'usage', message: tidy(error.message), hint, where: {}, exitCode: exitUsage };
  }
  if (error instanceof QuaverError) {
    const { code, message, hint, where } = error;
    return { code, message, hint, where, exitCode: exitFailure };
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const hint =
    'This is a fault in Quaver. Please report it with the command that you ran; QUAVER_DEBUG=1 adds the stack.';
  return { code: 'internal', message, hint, where: {}, exitCode: exitFailure };
}

/** Commander's messages begin with `error: `, which the report says already. */
function tidy(message: string): string {
  return message
    .replace(/^error: /, '')
    .replaceAll(/\n+/g, ' ')
    .trim();
}

/** One paragraph on standard error, or one JSON document on standard output. */
export function printError(
  report: ErrorReport,
  cause: unknown,
  { json, stdout, stderr }: { readonly json: boolean; readonly stdout: Output; readonly stderr: Output },
): void {
  const { code, message, hint, where } = report;
  if (json) stdout.write(`${JSON.stringify({ error: { code, message, hint: hint ?? null, where } })}\n`);
  else {
    const style = styleFor(stderr);
    stderr.write(`${style(['red', 'bold'], `error [${code}]:`)} ${message}\n`);
    if (hint) stderr.write(`${style('cyan', 'hint:')} ${hint}\n`);
  }
  if (process.env.QUAVER_DEBUG === '1' && cause instanceof Error) stderr.write(`${stackOf(cause)}\n`);
}

function stackOf(error: Error): string {
  const own = error.stack ?? String(error);
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own;
}
