import type { Tokenizer } from './tokenizer.ts';

/** Tokens decoded together so that a piece of text reads as it does inside the whole; older ones are settled. */
const windowTokens = 24;

/**
 * Turns tokens into text as they come. A token may end in the middle of a character, and what a token looks like may
 * depend on its neighbours: text is given out only when later tokens can no longer change it. All pieces together are
 * what `Tokenizer.decode` gives for all tokens.
 */
export class StreamDecoder {
  readonly #tokenizer: Tokenizer;
  #window: number[] = [];
  /** Length of the window's text after each of its tokens. */
  #lengths: number[] = [];
  /** Characters of the window's text that were given out. */
  #given = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The text that this token completes; empty while a character is unfinished. */
  push(token: number): string {
    this.#window.push(token);
    const text = this.#tokenizer.decode(this.#window);
    this.#lengths.push(text.length);
    const settled = settledLength(text);
    const fresh = text.slice(this.#given, settled);
    this.#given = settled;
    if (this.#window.length > windowTokens) this.#slide(text.length);
    return fresh;
  }

  /** What is left at the end, an unfinished character included. */
  flush(): string {
    const rest = this.#tokenizer.decode(this.#window).slice(this.#given);
    this.#window = [];
    this.#lengths = [];
    this.#given = 0;
    return rest;
  }

  /** Drops the older half of the window, if none of its tokens can be part of an unfinished character. */
  #slide(length: number): void {
    const dropped = this.#window.length - windowTokens / 2;
    if (this.#lengths[dropped - 1]! > this.#given) return;
    this.#window = this.#window.slice(dropped);
    // Counted from the end: the beginning may read otherwise without its neighbours, and was given out before.
    const shift = length - this.#tokenizer.decode(this.#window).length;
    this.#lengths = this.#lengths.slice(dropped).map((before) => before - shift);
    this.#given -= shift;
  }
}

/** What an unfinished (or invalid) UTF-8 sequence decodes to: one per sequence, or one per byte. */
const unfinished = '\uFFFD';
/** Bytes that an unfinished character has at most. */
const unfinishedBytes = 3;

/** Length of the text without an end that may be an unfinished character. */
function settledLength(text: string): number {
  let length = text.length;
  while (length > Math.max(0, text.length - unfinishedBytes) && text[length - 1] === unfinished) length--;
  return length;
}
