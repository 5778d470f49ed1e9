import { QuaverError } from '@quaver/numerics';
import { CommanderError } from 'commander';
import { Interrupts } from './interrupts.ts';
import { buildProgram, commandPath } from './program.ts';
import { describeError, exitFailure, printError, UsageError } from './report-error.ts';
import type { Environment } from './run.ts';

/**
 * Runs one command line (without `node` and the script) on the streams of this process.
 * Resolves to the exit code: 0, 1 for a failure, 2 for a wrong command line, 130 after Ctrl-C.
 */
export async function runCli(args: readonly string[]): Promise<number> {
  const interrupts = new Interrupts();
  const { stdout, stderr, stdin } = process;
  const environment: Environment = { stdout, stderr, stdin, signal: interrupts.signal, outcome: { exitCode: 0 } };
  const program = buildProgram(environment);
  let onIdle = (): void => undefined;
  const idle = new Promise<never>((_, reject) => {
    onIdle = () => reject(nothingToWaitFor());
  });
  process.once('beforeExit', onIdle);
  try {
    await Promise.race([program.parseAsync([...args], { from: 'user' }), idle]);
    return interrupts.exitCode ?? environment.outcome.exitCode;
  } catch (error) {
    if (interrupts.exitCode !== undefined) {
      if (interrupts.exitCode > 0) stderr.write('\nStopped. Nothing unfinished was left behind.\n');
      return interrupts.exitCode;
    }
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const given = isMissingCommand(error) ? new UsageError('a command is missing') : error;
    const report = describeError(given, commandPath(program, args));
    printError(report, given, { json: args.includes('--json'), stdout, stderr });
    return report.exitCode;
  } finally {
    process.off('beforeExit', onIdle);
    interrupts[Symbol.dispose]();
  }
}

/** The event loop is empty, and the command has not ended: somebody's promise never settles. */
function nothingToWaitFor(): QuaverError {
  return new QuaverError('never-answered', 'the command waits for an answer that cannot come any more', {
    hint: 'An executor that is not one of ours never settled a promise: try `quaver conformance --executor` on it.',
  });
}

function isMissingCommand(error: unknown): boolean {
  return error instanceof CommanderError && error.code === 'commander.help' && error.exitCode === exitFailure;
}
