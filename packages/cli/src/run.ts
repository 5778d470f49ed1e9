import type { Command } from 'commander';
import { BarProgress, LineProgress, noProgress, type Progress } from './terminal/progress.ts';
import { type Output, type Style, styleFor } from './terminal/style.ts';

/** What every command takes. */
export interface OutputFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function withOutputFlags(command: Command): Command {
  return command
    .option('--json', 'print one JSON document, and nothing else, on standard output')
    .option('-q, --quiet', 'no progress and no remarks on standard error');
}

/** The world of one process: where it writes to and what stops it. */
export interface Environment {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly stdin: NodeJS.ReadStream;
  readonly signal: AbortSignal;
  /** What the process exits with when nothing is thrown. */
  readonly outcome: { exitCode: number };
}

/** One run of one command: its output, its progress, its signal. */
export class Run {
  readonly signal: AbortSignal;
  readonly json: boolean;
  readonly progress: Progress;
  readonly style: Style;
  readonly stdin: NodeJS.ReadStream;
  readonly #stdout: Output;
  readonly #stderr: Output;
  readonly #quiet: boolean;

  constructor({ stdout, stderr, stdin, signal }: Environment, { json = false, quiet = false }: OutputFlags) {
    this.signal = signal;
    this.json = json;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.stdin = stdin;
    this.#quiet = quiet || json;
    this.style = styleFor(stdout);
    this.progress = this.#quiet ? noProgress : stderr.isTTY ? new BarProgress(stderr) : new LineProgress(stderr);
  }

  /** The result: a JSON document with --json, else what `text` gives. */
  result(document: object, text: () => string): void {
    this.progress.clear();
    if (this.json) this.#stdout.write(`${JSON.stringify(document)}\n`);
    else {
      const lines = text();
      if (lines !== '') this.#stdout.write(lines.endsWith('\n') ? lines : `${lines}\n`);
    }
  }

  /** Text as it comes, for streaming; never with --json. */
  write(text: string): void {
    this.progress.clear();
    if (!this.json && text !== '') this.#stdout.write(text);
  }

  /** A remark for people, on standard error. */
  note(line: string): void {
    if (this.#quiet) return;
    this.progress.clear();
    this.#stderr.write(`${line}\n`);
  }
}
