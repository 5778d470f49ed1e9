import { readFileSync } from 'node:fs';
import { Tokenizer } from '@quaver/generate';

/** Made by the tokenizers library; ORIGIN.md beside the files. */
const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../../generate/test/data/${name}`, import.meta.url), 'utf8')) as T;

const vocabulary = read<{ readonly added_tokens: readonly object[] }>('tokenizer.json');
/** ChatML, Llama 3 headers, Llama 2 brackets. */
export const { templates } = read<{ readonly templates: Readonly<Record<string, string>> }>('chats.json');

const turnTokens = ['<|im_start|>', '<|im_end|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>'];
const firstTurnToken = 97;

/**
 * Byte-level BPE of 97 tokens, 1 is BOS and 2 EOS; with `turns`, the marks of turns that the templates write are tokens.
 */
export function testTokenizer(options: { readonly template?: string; readonly turns?: boolean } = {}): Tokenizer {
  const { template, turns = true } = options;
  const added = turnTokens.map((content, index) => ({
    id: firstTurnToken + index,
    content,
    special: true,
    normalized: false,
    single_word: false,
    lstrip: false,
    rstrip: false,
  }));
  return new Tokenizer(
    turns ? { ...vocabulary, added_tokens: [...vocabulary.added_tokens, ...added] } : vocabulary,
    { bos_token: '<|begin|>', eos_token: { content: '<|end|>' }, pad_token: null },
    template,
  );
}

export const bos = 1;
export const eos = 2;
