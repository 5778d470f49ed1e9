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

/** As Llama 2 comes: words begin with ▁, which the decoder turns into spaces but for the first; bytes as <0xHH>. */
export function sentencePieceTokenizer(): Tokenizer {
  const bytes = [0x41, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80].map(
    (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, '▁', '▁the', '▁a', 'cat', 's', '▁▁', '.', '!'];
  const special = (id: number) => ({ id, content: tokens[id]!, special: true, normalized: false });
  return new Tokenizer(
    {
      version: '1.0',
      added_tokens: [special(0), special(1), special(2)],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        type: 'BPE',
        unk_token: null,
        byte_fallback: true,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: [],
      },
    },
    {},
  );
}
