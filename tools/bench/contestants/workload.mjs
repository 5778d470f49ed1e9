/** @file What everybody does: the same prompts, lengths and ways of choosing tokens for us and for the peers. */
import { proseTokens } from '../models.mjs';

export const PROMPT_TOKENS = 32;
export const DECODE_TOKENS = 128;
export const PREFILL_TOKENS = 512;
export const BATCH = 32;
export const BATCH_PROMPT_TOKENS = 32;
export const BATCH_DECODE_TOKENS = 64;

/** The usual chain of llama.cpp and of chat clients, and the most probable token. */
export const SAMPLING = {
  sampled: { temperature: 0.8, topK: 40, topP: 0.95, seed: 1 },
  greedy: { temperature: 0 },
};

/** @param sequences prompts that are decoded together @param length tokens of each of them */
export async function prompts(sequences = BATCH, length = BATCH_PROMPT_TOKENS) {
  const tokens = await proseTokens();
  const step = Math.min(40, Math.floor((tokens.length - length) / sequences));
  return {
    short: tokens.slice(0, PROMPT_TOKENS),
    long: tokens.slice(0, PREFILL_TOKENS),
    batch: Array.from({ length: sequences }, (_, i) => tokens.slice(i * step, i * step + length)),
  };
}
