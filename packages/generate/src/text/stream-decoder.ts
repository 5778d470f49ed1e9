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
  /** Characters of the window's text that were given out. */
  #given = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The text that this token completes; empty while a character is unfinished. */
  push(token: number): string {
    this.#window.push(token);
    const text = this.#tokenizer.decode(this.#window);
    const settled = settledLength(text);
    const fresh = text.slice(this.#given, settled);
    this.#given = Math.max(this.#given, settled);
    if (this.#window.length > windowTokens) this.#slide(text);
    return fresh;
  }

  /** What is left at the end, an unfinished character included. */
  flush(): string {
    const rest = this.#tokenizer.decode(this.#window).slice(this.#given);
    this.#window = [];
    this.#given = 0;
    return rest;
  }

  /** Drops the older half of the window where both halves, each alone, decode to their parts of the text. */
  #slide(text: string): void {
    const settled = this.#window.slice(0, -windowTokens / 2);
    const kept = this.#window.slice(-windowTokens / 2);
    const [head, tail] = [this.#tokenizer.decode(settled), this.#tokenizer.decode(kept)];
    const held = text.length - this.#given;
    // Some decoders strip a leading space, so the two may leave a gap; they must not overlap.
    const apart = text.startsWith(head) && text.endsWith(tail) && head.length + tail.length <= text.length;
    if (!apart || tail.length < held) return;
    this.#window = kept;
    this.#given = tail.length - held;
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
