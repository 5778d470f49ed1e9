import { readFileSync } from 'node:fs';
import { Tokenizer } from '../../src/index.ts';

export function readJson<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../data/${name}`, import.meta.url), 'utf8')) as T;
}

export const tokenizerJson: Readonly<Record<string, unknown>> = readJson('tokenizer.json');
export const tokenizerConfig = { bos_token: '<|begin|>', eos_token: { content: '<|end|>' }, pad_token: null };
export const fixtureVocabulary = 97;

export function fixtureTokenizer(): Tokenizer {
  return new Tokenizer(tokenizerJson, tokenizerConfig);
}
