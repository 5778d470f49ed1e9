import type { Tokenizer } from './tokenizer.ts';

/** Tokens decoded together so that a piece of text reads as it does inside the whole; older ones are settled. */
const windowTokens = 24;

/**
 * Turns tokens into text as they come. A token may end in the middle of a character, and what a token looks like may
 * depend on its neighbours: text is given out only when later tokens can no longer change it.
 */
export class StreamDecoder {
  readonly #tokenizer: Tokenizer;
  #window: number[] = [];
  #given = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The text that this token completes; empty while a character is unfinished. */
  push(token: number): string {
    this.#window.push(token);
    const text = this.#tokenizer.decode(this.#window);
    // An unfinished UTF-8 sequence decodes to U+FFFD.
    if (text.endsWith('\uFFFD')) return '';
    const fresh = text.slice(this.#given);
    this.#given = text.length;
    if (this.#window.length > windowTokens) this.#slide();
    return fresh;
  }

  /** What is left at the end, an unfinished character included. */
  flush(): string {
    const rest = this.#tokenizer.decode(this.#window).slice(this.#given);
    this.#window = [];
    this.#given = 0;
    return rest;
  }

  /** Drops the older half of the window where the rest decodes on its own to the end of the same text. */
  #slide(): void {
    const text = this.#tokenizer.decode(this.#window);
    const kept = this.#window.slice(windowTokens / 2);
    const tail = this.#tokenizer.decode(kept);
    if (!text.endsWith(tail) || tail.startsWith('\uFFFD')) return;
    this.#window = kept;
    this.#given = tail.length;
  }
}
