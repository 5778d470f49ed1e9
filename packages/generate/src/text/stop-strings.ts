/** What may be shown of a stream of text that ends at the first stop string. */
export interface StopScan {
  /** Text that no stop string can claim any more. */
  readonly text: string;
  readonly stopped: boolean;
}

/**
 * Holds back text that may be the beginning of a stop string, and cuts at the first one that is complete: the one that
 * ends first, and of those that end together the one that begins first. The result does not depend on how the text was
 * cut into pieces.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';

  /** @param stops texts to stop at; empty ones are ignored */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '');
  }

  /** After `stopped`, nothing more is to be pushed. */
  push(text: string): StopScan {
    this.#held += text;
    const cut = this.#firstStop();
    const end = cut ?? this.#held.length - this.#openPrefix();
    const shown = this.#held.slice(0, end);
    this.#held = cut === undefined ? this.#held.slice(end) : '';
    return { text: shown, stopped: cut !== undefined };
  }

  /** The text that was held back and turned out to be no stop string. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  /** Where the first complete stop string begins. */
  #firstStop(): number | undefined {
    const found = this.#stops
      .map((stop) => ({ begin: this.#held.indexOf(stop), length: stop.length }))
      .filter(({ begin }) => begin >= 0)
      .sort((a, b) => a.begin + a.length - (b.begin + b.length) || a.begin - b.begin);
    return found[0]?.begin;
  }

  /** Length of the longest end of the held text that begins a stop string. */
  #openPrefix(): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, this.#held.length); length > longest; length--) {
        if (this.#held.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
