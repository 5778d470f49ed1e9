import { StopStrings } from './stop-strings.ts';
import { StreamDecoder } from './stream-decoder.ts';
import type { Tokenizer } from './tokenizer.ts';

/** The text of a token stream up to its first stop string, in pieces that never have to be taken back. */
export class TextStream {
  readonly #decoder: StreamDecoder;
  readonly #stops: StopStrings;
  #text = '';
  #stopped = false;

  constructor(tokenizer: Tokenizer, stops: readonly string[]) {
    this.#decoder = new StreamDecoder(tokenizer);
    this.#stops = new StopStrings(stops);
  }

  /** All pieces so far. */
  get text(): string {
    return this.#text;
  }

  /** A stop string is complete; nothing more is to be pushed. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The piece that became certain with this token. */
  push(token: number): string {
    return this.#scan(this.#decoder.push(token));
  }

  /** The last piece, when no more tokens come. */
  end(): string {
    const piece = this.#scan(this.#decoder.flush());
    const rest = this.#stops.flush();
    this.#text += rest;
    return piece + rest;
  }

  #scan(decoded: string): string {
    const { text, stopped } = this.#stops.push(decoded);
    this.#text += text;
    this.#stopped = stopped;
    return text;
  }
}
