/**
 * @file A paged cache that holds tokens instead of keys and values, and a language that is a hash of all tokens so far. What a
 * sequence is told follows from what its pages hold: pages that are mixed up, lost or written by others show in its tokens.
 */
import { philox4x32 } from '@quaver/numerics';
import { expect } from 'vitest';
import type { RolloutModel } from '../../../src/rollout/rollout-run.ts';
import type { Sequence } from '../../../src/rollout/sequence.ts';

export const vocabulary = 8;

/** Logits and log-probabilities of what follows `tokens`. */
export function hashedLogits(tokens: readonly number[]): { logits: Float32Array; logprobs: Float32Array } {
  let hash = 0;
  for (const token of tokens) hash = philox4x32([hash, token, 0, 0], [0, 0])[0];
  const logits = Float32Array.from({ length: vocabulary }, (_, v) => philox4x32([hash, v, 1, 0], [0, 0])[0] / 2 ** 31);
  return { logits, logprobs: logits.map((logit) => logit - 4) };
}

export interface TokenCacheOptions {
  readonly pages: number;
  readonly pageTokens: number;
  readonly prefillTokens: number;
  /** Positions that the model has; padding must not have others. */
  readonly context: number;
  /** Calls, from 0, that fail and take the cache with them. */
  readonly failing: ReadonlySet<number>;
  /** Called before each call. */
  readonly beforeCall?: (call: number) => void;
}

type Read = Parameters<RolloutModel['decode']>[2];

export class TokenCache implements RolloutModel {
  calls = 0;
  computedTokens = 0;
  readonly #options: TokenCacheOptions;
  readonly #slots: Int32Array;

  constructor(options: TokenCacheOptions) {
    this.#options = options;
    this.#slots = new Int32Array(options.pages * options.pageTokens).fill(-1);
  }

  async prefill(sequences: readonly Sequence[], tokens: number, signal: AbortSignal | undefined, read: Read) {
    const { prefillTokens, context } = this.#options;
    expect(sequences.length * tokens).toBeLessThanOrEqual(prefillTokens);
    for (const { computed } of sequences) expect(computed + tokens).toBeLessThanOrEqual(context);
    await this.#compute(sequences, tokens, signal, read);
  }

  async decode(sequences: readonly Sequence[], signal: AbortSignal | undefined, read: Read) {
    for (const { pending } of sequences) expect(pending).toBe(1);
    await this.#compute(sequences, 1, signal, read);
  }

  async recover() {
    this.forget();
  }

  forget() {
    this.#slots.fill(-1);
  }

  async #compute(sequences: readonly Sequence[], tokens: number, signal: AbortSignal | undefined, read: Read) {
    const call = this.calls++;
    this.#options.beforeCall?.(call);
    signal?.throwIfAborted();
    expect(new Set(sequences).size).toBe(sequences.length);
    const ends = sequences.map(({ computed, pending }) => computed + Math.min(tokens, pending));
    for (const [row, sequence] of sequences.entries()) {
      for (let at = sequence.computed; at < ends[row]!; at++)
        this.#slots[this.#slot(sequence, at)] = sequence.tokens[at]!;
      this.computedTokens += ends[row]! - sequence.computed;
    }
    if (this.#options.failing.has(call)) {
      this.#slots.fill(-1);
      throw new Error('the device was lost');
    }
    for (const [row, sequence] of sequences.entries()) {
      const held = Array.from({ length: ends[row]! }, (_, at) => this.#slots[this.#slot(sequence, at)]!);
      if (held.length < sequence.tokens.length) continue;
      const { logits, logprobs } = hashedLogits(held);
      read(logits, logprobs, row);
    }
  }

  #slot({ pages }: Sequence, position: number): number {
    const { pageTokens } = this.#options;
    const page = pages[Math.floor(position / pageTokens)];
    expect(page, `the page of position ${position}`).toBeDefined();
    return page! * pageTokens + (position % pageTokens);
  }
}
