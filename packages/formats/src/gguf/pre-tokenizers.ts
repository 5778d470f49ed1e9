import type { JsonValue } from '../json.ts';

/** How a byte-level BPE tokenizer treats text before the merges. */
export interface PreTokenizerRule {
  /** Applied one after the other; matches and what lies between them both stay. */
  readonly patterns: readonly string[];
  readonly normalizer: JsonValue;
  /** A pre-token that is in the vocabulary is taken whole, whatever the merges say. */
  readonly ignoreMerges: boolean;
  readonly addBos: boolean;
}

const gpt2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

/** The splitting rule of GPT-4 and those after it; `digits` says how many digits stay together. */
const modern = (digits: string) =>
  "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])" +
  String.raw`|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const rule = (patterns: readonly string[], more: Partial<PreTokenizerRule> = {}): PreTokenizerRule => ({
  patterns,
  normalizer: null,
  ignoreMerges: false,
  addBos: false,
  ...more,
});

const digitByDigit = rule([String.raw`\p{N}`, gpt2]);
const qwen2 = rule([modern(String.raw`\p{N}`)], { normalizer: { type: 'NFC' } });
const llama3 = rule([modern(String.raw`\p{N}{1,3}`)], { ignoreMerges: true, addBos: true });

/** By `tokenizer.ggml.pre`; the patterns are those of the models' own `tokenizer.json` files. */
export const preTokenizerRules: ReadonlyMap<string, PreTokenizerRule> = new Map([
  // What GGUF readers use for files from before the key existed.
  ['default', rule([String.raw`[\p{P}\$\+<=>\^~\|]+`, gpt2, String.raw`\p{N}+`, '[0-9][0-9][0-9]'])],
  ['gpt-2', rule([gpt2])],
  ['smollm', digitByDigit],
  ['starcoder', digitByDigit],
  ['llama-bpe', llama3],
  ['llama3', llama3],
  ['llama-v3', llama3],
  ['qwen2', qwen2],
  ['deepseek-r1-qwen', qwen2],
]);
