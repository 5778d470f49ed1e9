import { QuaverError } from '@quaver/numerics';
import type { StopReason } from '../generate.ts';
import { type ResolvedSampling, sampleToken } from '../sampling/sampler.ts';
import { TextStream } from '../text/text-stream.ts';
import type { DrawKey } from './draw-key.ts';
import type { RequestGroup } from './request-group.ts';
import { topLogprobs } from './top-logprobs.ts';
import type { RolloutResult, RolloutTokenEvent, TopLogprob } from './types.ts';

/** One continuation in the making: its tokens, and the pages with what was computed of them. */
export class Sequence {
  readonly group: RequestGroup;
  readonly sample: number;
  /** By when it came: the highest is the youngest. */
  readonly order: number;
  /** Prompt and continuation. */
  readonly tokens: number[];
  /** Tokens, from the first, whose keys and values are in the pages. */
  computed = 0;
  /** Tokens that had been computed when it last lost its pages; those are computed again. */
  lost = 0;
  /** Pages of the cache by position; the first ones may be shared. */
  readonly pages: number[] = [];
  stopReason: StopReason | undefined;
  error: QuaverError | undefined;
  /** When it got its last token, in milliseconds. */
  lastTokenTime = 0;
  readonly #sampling: ResolvedSampling;
  readonly #stream: number;
  readonly #logprobs: number[] = [];
  readonly #top: TopLogprob[][] = [];
  readonly #text: TextStream | undefined;
  #firstTokenSeconds = 0;

  constructor(group: RequestGroup, sample: number, order: number, { seed, stream }: DrawKey) {
    this.group = group;
    this.sample = sample;
    this.order = order;
    this.tokens = [...group.prompt];
    this.#sampling = { ...group.sampling, seed };
    this.#stream = stream;
    // Decoding at every step is for those who may stop in the middle of a text.
    if (group.stop.length > 0) this.#text = new TextStream(group.tokenizer!, group.stop);
    if (group.wantedTokens === 0) this.stopReason = 'max_new_tokens';
  }

  get ended(): boolean {
    return this.stopReason !== undefined || this.error !== undefined;
  }

  /** Tokens that the model has to see before it says what follows. */
  get pending(): number {
    return this.tokens.length - this.computed;
  }

  get generated(): number {
    return this.#logprobs.length;
  }

  /**
   * Chooses the next token by what the model says about it, two rows of [V] that are only read. Logits out of which nothing can
   * be chosen end the sequence with an error.
   */
  accept(logits: Float32Array, logprobs: Float32Array, now: number): RolloutTokenEvent | undefined {
    const { group } = this;
    let token: number;
    try {
      token = sampleToken(logits, this.tokens, this.#sampling, this.#stream, this.generated);
    } catch (error) {
      if (!(error instanceof QuaverError)) throw error;
      this.error = error;
      return undefined;
    }
    const logprob = logprobs[token]!;
    this.tokens.push(token);
    this.#logprobs.push(logprob);
    if (this.generated === 1) this.#firstTokenSeconds = (now - group.arrival) / 1000;
    this.lastTokenTime = now;
    this.#endIfDone(token);
    const event = { type: 'token', id: group.id, sample: this.sample, token, logprob } as const;
    if (group.topLogprobs === 0) return event;
    const top = topLogprobs(logprobs, group.topLogprobs);
    this.#top.push(top);
    return { ...event, topLogprobs: top };
  }

  result(now: number): RolloutResult {
    const { id, prompt, tokenizer, arrival, topLogprobs: wantedTop } = this.group;
    const tokens = this.tokens.slice(prompt.length);
    return {
      id,
      sample: this.sample,
      prompt,
      tokens,
      logprobs: Float32Array.from(this.#logprobs),
      ...(wantedTop > 0 ? { topLogprobs: this.#top } : {}),
      ...(tokenizer ? { text: this.#text?.text ?? tokenizer.decode(this.#withoutEnd(tokens)) } : {}),
      stopReason: this.stopReason!,
      firstTokenSeconds: this.#firstTokenSeconds,
      seconds: (now - arrival) / 1000,
    };
  }

  #endIfDone(token: number): void {
    const { ends, wantedTokens, capacity } = this.group;
    if (ends.has(token)) this.stopReason = 'eos';
    else {
      this.#text?.push(token);
      if (this.generated === wantedTokens) this.stopReason = 'max_new_tokens';
      else if (this.tokens.length === capacity) this.stopReason = 'context';
    }
    const text = this.#text;
    if (!text) return;
    if (this.stopReason && !text.stopped) text.end();
    if (text.stopped) this.stopReason = 'stop_string';
  }

  #withoutEnd(tokens: readonly number[]): readonly number[] {
    return this.stopReason === 'eos' ? tokens.slice(0, -1) : tokens;
  }
}
