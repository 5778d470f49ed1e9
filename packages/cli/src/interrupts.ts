import { writeSync } from 'node:fs';
import { QuaverError } from '@quaver/numerics';

/** Under npm one Ctrl-C arrives twice: from the terminal and from npm. Nobody presses it again as fast. */
const sameKeyMs = 300;

const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * What may stop a process from outside: signals, and a reader of standard output who has gone.
 * The first one stops the work in an orderly way, so that temporary files go; the second ends the process at once.
 */
export class Interrupts implements Disposable {
  readonly #controller = new AbortController();
  readonly #listeners = new Map<NodeJS.Signals, () => void>();
  readonly #onOutputError: (error: NodeJS.ErrnoException) => void;
  #exitCode: number | undefined;
  #interruptedAt = 0;

  constructor() {
    for (const [name, code] of Object.entries(exitCodes)) {
      const listener = () => this.#interrupt(code, `stopped by ${name}`);
      this.#listeners.set(name as NodeJS.Signals, listener);
      process.on(name, listener);
    }
    this.#onOutputError = (error) => {
      if (error.code === 'EPIPE') this.#interrupt(0, 'nobody reads the output any more');
      else this.#outputFailed(error);
    };
    process.stdout.on('error', this.#onOutputError);
    process.stderr.on('error', this.#onOutputError);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What the process must exit with, once it was interrupted. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** Said past the streams, which may be what failed; once. */
  #outputFailed(error: NodeJS.ErrnoException): void {
    if (this.#exitCode !== undefined) return;
    try {
      writeSync(2, `error [output-not-writable]: the output cannot be written: ${error.message}\n`);
      writeSync(2, 'hint: Free some space, or send the output to another file.\n');
    } catch {
      // Standard error fails too: the exit code is all that is left.
    }
    this.#interrupt(1, 'the output cannot be written');
    // The stream may report this when the command has already ended and said how.
    process.exitCode = 1;
  }

  #interrupt(code: number, why: string): void {
    if (this.#exitCode !== undefined) {
      if (code === 0 || performance.now() - this.#interruptedAt < sameKeyMs) return;
      process.exit(code);
    }
    this.#exitCode = code;
    this.#interruptedAt = performance.now();
    this.#controller.abort(new QuaverError('aborted', why));
  }

  [Symbol.dispose](): void {
    // Interrupted, the process ends now, and must do so with its own exit code.
    if (this.#exitCode !== undefined) return;
    for (const [name, listener] of this.#listeners) process.off(name, listener);
  }
}
