/**
 * @file The tokenizer: bytes, and whole words for the words of the problems. Any text can be written, a digit is always a token,
 * and a word of a story is one. There are no merges: a piece between spaces, digits and punctuation is a token as a whole or
 * falls into bytes.
 */
import { containers, names, stories, things } from './kinds/word.ts';

const specials = ['<|end|>', '<|user|>', '<|assistant|>', '<|pad|>'] as const;
const [end, user, assistant, pad] = specials;

/** How GPT-2's byte-level tokenizer shows bytes: printable ones as themselves, others as letters from U+0100 on. */
const byteSymbols: readonly string[] = (() => {
  const shown = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  let hidden = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(shown(byte) ? byte : 0x100 + hidden++));
})();

/** The pieces that the pre-tokenizer makes of a text without digits. */
const pieces = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Every text that a prompt or a response may have between its numbers. */
function texts(): string[] {
  const told = stories.flatMap(({ tell }) =>
    Array.from({ length: Math.max(names.length, things.length, containers.length) }, (_, i) => {
      const at = <T>(list: readonly T[], place: number) => list[place % list.length]!;
      const cast = {
        name: at(names, i),
        other: at(names, i + 1),
        things: at(things, i),
        containers: at(containers, i),
      };
      return tell(cast, [0, 0, 0]);
    }),
  );
  const asked = [
    '0 + 0 - 0 * 0 = ?',
    '0 * (0',
    '0) * 0',
    '0) = ?',
    'Which is larger, 0 or',
    'Which is smaller, 0 or 0?',
    '\n#### 0',
  ];
  return [...asked, ...told].flatMap((text) => text.split(/\d/));
}

/** Token → id: special tokens, bytes, words. */
function vocabulary(): Readonly<Record<string, number>> {
  const words = texts()
    .flatMap((text) => text.match(pieces) ?? [])
    .map((piece) => Array.from(new TextEncoder().encode(piece), (byte) => byteSymbols[byte]).join(''));
  const tokens = new Set([...specials, ...byteSymbols, ...words]);
  return Object.fromEntries([...tokens].map((token, id) => [token, id]));
}

/** The contents of `tokenizer.json`, as Hugging Face's tokenizers library reads it. */
export function tokenizerJson(): Readonly<Record<string, unknown>> {
  const added = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specials.map((content, id) => ({ id, content, ...added })),
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel] },
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab: vocabulary(),
      merges: [],
    },
  };
}

/** A turn is its role's token and the text; the assistant's ends with the token that ends a text. */
const chatTemplate = [
  '{%- for message in messages -%}',
  `{%- if message.role == 'user' -%}{{ '${user}' + message.content }}`,
  `{%- elif message.role == 'assistant' -%}{{ '${assistant}' + message.content + '${end}' }}`,
  "{%- else -%}{{ raise_exception('this model knows the roles user and assistant only, not ' + message.role) }}",
  '{%- endif -%}',
  '{%- endfor -%}',
  `{%- if add_generation_prompt -%}{{ '${assistant}' }}{%- endif -%}`,
].join('');

/** The contents of `tokenizer_config.json`. */
export function tokenizerConfig(): Readonly<Record<string, unknown>> {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    eos_token: end,
    pad_token: pad,
    clean_up_tokenization_spaces: false,
    model_max_length: 256,
    chat_template: chatTemplate,
  };
}

/** The files that travel in the model, by name. */
export function tokenizerFiles(): Map<string, Uint8Array> {
  const file = (value: unknown) => new TextEncoder().encode(`${JSON.stringify(value, undefined, 2)}\n`);
  return new Map([
    ['tokenizer.json', file(tokenizerJson())],
    ['tokenizer_config.json', file(tokenizerConfig())],
  ]);
}
