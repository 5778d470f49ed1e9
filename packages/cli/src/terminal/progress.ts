import { SingleBar } from 'cli-progress';
import type { Output } from './style.ts';

/** Where long work says how far it is. */
export interface Progress {
  /** `done` of `total` (undefined: not known) of the work called `label`; a new label begins new work. `detail` may change. */
  update(label: string, done: number, total?: number, detail?: string): void;
  /** Takes the display away before something else is written. */
  clear(): void;
}

export const noProgress: Progress = { update: () => undefined, clear: () => undefined };

/** A bar that is redrawn on one line of a terminal. */
export class BarProgress implements Progress {
  readonly #stream: NodeJS.WriteStream;
  #bar: SingleBar | undefined;
  #label = '';

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  update(label: string, done: number, total?: number, detail = ''): void {
    if (label !== this.#label) this.clear();
    this.#label = label;
    if (!this.#bar) {
      this.#bar = new SingleBar({
        stream: this.#stream,
        format: '{label} {bar} {percentage} % {detail}',
        barCompleteChar: '█',
        barIncompleteChar: '░',
        barsize: 28,
        clearOnComplete: true,
        // Ctrl-C is handled by the command, which must be able to clean up.
        gracefulExit: false,
        hideCursor: null,
      });
      this.#bar.start(total ?? 0, done, { label, detail });
    }
    if (total !== undefined) this.#bar.setTotal(total);
    this.#bar.update(done, { detail });
  }

  clear(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#label = '';
  }
}

/** Milliseconds before the first line of a piece of work, and between its lines. */
const firstLineMs = 2_000;
const nextLineMs = 5_000;

/** A line now and then, for logs; work that is quickly done says nothing. */
export class LineProgress implements Progress {
  readonly #stream: Output;
  readonly #now: () => number;
  #label = '';
  #next = 0;

  constructor(stream: Output, now: () => number = () => performance.now()) {
    this.#stream = stream;
    this.#now = now;
  }

  update(label: string, done: number, total?: number, detail = ''): void {
    const now = this.#now();
    if (label !== this.#label) {
      this.#label = label;
      this.#next = now + firstLineMs;
    }
    if (now < this.#next) return;
    this.#next = now + nextLineMs;
    const share = total ? ` ${Math.floor((100 * done) / total)} %` : ' …';
    this.#stream.write(`${label}${share}${detail === '' ? '' : `: ${detail}`}\n`);
  }

  clear(): void {
    this.#label = '';
  }
}
