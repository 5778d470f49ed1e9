/** What may be shown of a stream of text that ends at the first stop string. */
export interface StopScan {
  /** Text that no stop string can claim any more. */
  readonly text: string;
  readonly stopped: boolean;
}

/** Holds back text that may be the beginning of a stop string, and cuts at the first one that is complete. */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '');
  }

  push(text: string): StopScan {
    this.#held += text;
    const ends = this.#stops.map((stop) => this.#held.indexOf(stop)).filter((index) => index >= 0);
    if (ends.length > 0) {
      const shown = this.#held.slice(0, Math.min(...ends));
      this.#held = '';
      return { text: shown, stopped: true };
    }
    const keep = this.#openPrefix();
    const shown = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(this.#held.length - keep);
    return { text: shown, stopped: false };
  }

  /** The text that was held back and turned out to be no stop string. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  /** Length of the longest end of the held text that begins a stop string. */
  #openPrefix(): number {
    let longest = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, this.#held.length); length > longest; length--) {
        if (stop.startsWith(this.#held.slice(this.#held.length - length))) longest = length;
      }
    }
    return longest;
  }
}
