import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, test } from 'vitest';
import type { MetadataValue } from '../../src/checkpoint.ts';
import { readGgufHeader } from '../../src/gguf/header.ts';
import { tokenizerFromGguf } from '../../src/gguf/tokenizer.ts';
import { dataJson, dataSource } from '../data.ts';

interface Case {
  readonly text: string;
  readonly ids: readonly number[];
  readonly decoded: string;
}
const golden = dataJson<Readonly<Record<string, readonly Case[]>>>('token-ids.json');

async function metadataOf(file: string, changes: Readonly<Record<string, MetadataValue | undefined>> = {}) {
  const metadata = new Map((await readGgufHeader(dataSource(file))).metadata);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) metadata.delete(key);
    else metadata.set(key, value);
  }
  return metadata;
}

async function build(file: string, changes?: Readonly<Record<string, MetadataValue | undefined>>): Promise<Tokenizer> {
  const { tokenizer, config } = tokenizerFromGguf(await metadataOf(file, changes));
  // Through text, as it would be stored in a model.
  return new Tokenizer(JSON.parse(JSON.stringify(tokenizer)), JSON.parse(JSON.stringify(config)));
}

function expectCases(tokenizer: Tokenizer, cases: readonly Case[]): void {
  expect(cases.length).toBeGreaterThan(25);
  for (const { text, ids, decoded } of cases) {
    expect({ text, ids: tokenizer.encode(text, { add_special_tokens: false }).ids }).toEqual({ text, ids });
    if (ids.length > 0) expect({ text, decoded: tokenizer.decode([...ids]) }).toEqual({ text, decoded });
  }
}

describe('token ids and texts of other libraries', () => {
  test('SmolLM2 vocabulary, against the tokenizers package', async () => {
    expectCases(await build('smollm2-vocabulary.gguf.gz'), golden.smollm2!);
  });

  test.each(['smollm', 'gpt-2', 'llama-bpe', 'qwen2', 'default'])('pre-tokenizer %s', async (pre) => {
    expectCases(await build('bpe-600.gguf', { 'tokenizer.ggml.pre': pre }), golden[`bpe-600 ${pre}`]!);
  });

  test('a file without tokenizer.ggml.pre splits as "default"', async () => {
    expectCases(await build('bpe-600.gguf'), golden['bpe-600 default']!);
  });

  test('SentencePiece BPE, against SentencePiece', async () => {
    expectCases(await build('spm-560.gguf'), golden['spm-560']!);
  });
});

describe('tokenizer_config.json', () => {
  test('SmolLM2: special tokens, template, context', async () => {
    const { config, tokenizer } = tokenizerFromGguf(await metadataOf('smollm2-vocabulary.gguf.gz'));
    expect(config).toMatchObject({
      bos_token: '<|im_start|>',
      eos_token: '<|im_end|>',
      unk_token: '<|endoftext|>',
      pad_token: '<|im_end|>',
      add_bos_token: false,
      add_eos_token: false,
      clean_up_tokenization_spaces: false,
      model_max_length: 8192,
    });
    expect(config.chat_template).toMatch(/^\{% for message in messages %\}/);
    expect((tokenizer.added_tokens as unknown[]).length).toBe(17);
  });

  test('beginning and end of text are added where the file says so', async () => {
    const plain = await build('bpe-600.gguf');
    const [a] = plain.encode('a').ids;
    const both = { 'tokenizer.ggml.add_bos_token': true, 'tokenizer.ggml.add_eos_token': true };
    expect((await build('bpe-600.gguf', both)).encode('a').ids).toEqual([0, a, 0]);
    expect((await build('bpe-600.gguf', both)).encode('a', { add_special_tokens: false }).ids).toEqual([a]);
    // llama-bpe and SentencePiece add the first one unless told otherwise.
    expect((await build('bpe-600.gguf', { 'tokenizer.ggml.pre': 'llama-bpe' })).encode('a').ids).toEqual([0, a]);
    const spm = await build('spm-560.gguf');
    expect(spm.encode('a').ids).toEqual([1, ...spm.encode('a', { add_special_tokens: false }).ids]);
  });

  test('without add_space_prefix no space is put before SentencePiece text', async () => {
    const spm = await build('spm-560.gguf', { 'tokenizer.ggml.add_space_prefix': false });
    expect(spm.decode(spm.encode(' x', { add_special_tokens: false }).ids)).toBe(' x');
    expect(spm.tokenize('x')[0]!.startsWith('▁')).toBe(false);
  });

  test('special tokens in SentencePiece text are found as they are written', async () => {
    const spm = await build('spm-560.gguf');
    expect(spm.tokenize('a<s>a')).toEqual([...spm.tokenize('a'), '<s>', ...spm.tokenize('a')]);
  });

  test('SentencePiece merges: every split of a normal token into normal tokens, best score first, then by id', async () => {
    const metadata = await metadataOf('spm-560.gguf', {
      'tokenizer.ggml.tokens': ['<unk>', '<s>', 'b', 'a', 'ab', 'ba', 'aba', '<s>a'],
      'tokenizer.ggml.token_type': new Int32Array([2, 3, 1, 1, 1, 1, 1, 1]),
      'tokenizer.ggml.scores': new Float32Array([0, 0, 0, 0, -3, -2, -1, 0]),
      'tokenizer.ggml.eos_token_id': undefined,
    });
    const { model } = tokenizerFromGguf(metadata).tokenizer as { model: { merges: unknown } };
    expect(model.merges).toEqual([
      ['a', 'ba'],
      ['ab', 'a'],
      ['b', 'a'],
      ['a', 'b'],
    ]);
  });

  test('user-defined tokens are matched before the merges and are not special', async () => {
    const metadata = await metadataOf('bpe-600.gguf');
    const types = new Int32Array(metadata.get('tokenizer.ggml.token_type') as Int32Array);
    const tokens = [...(metadata.get('tokenizer.ggml.tokens') as readonly string[])];
    types[599] = 4;
    tokens[599] = 'wxyz';
    const changes = { 'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.merges': [] };
    const asPlain = await build('bpe-600.gguf', changes);
    expect(asPlain.encode('awxyzb').ids).not.toContain(599);
    // Llama 3 takes a pre-token that is in the vocabulary whole, even where no merge makes it.
    expect((await build('bpe-600.gguf', { ...changes, 'tokenizer.ggml.pre': 'llama-bpe' })).encode('wxyz').ids).toEqual(
      [0, 599],
    );
    const asUserDefined = await build('bpe-600.gguf', { ...changes, 'tokenizer.ggml.token_type': types });
    expect(asUserDefined.tokenize('awxyzb')).toEqual(['a', 'wxyz', 'b']);
    expect(asUserDefined.decode([599], { skip_special_tokens: true })).toBe('wxyz');
  });
});

describe('what cannot be built', () => {
  const cases: readonly (readonly [string, string, Readonly<Record<string, MetadataValue | undefined>>, string])[] = [
    ['no tokenizer', 'gguf-no-tokenizer', { 'tokenizer.ggml.model': undefined }, 'tokenizer.ggml.model'],
    ['another model', 'gguf-unsupported-tokenizer', { 'tokenizer.ggml.model': 'bert' }, 'bert'],
    ['an unknown pre-tokenizer', 'gguf-unsupported-tokenizer', { 'tokenizer.ggml.pre': 'tekken' }, 'tekken'],
    ['no tokens', 'gguf-bad-tokenizer', { 'tokenizer.ggml.tokens': undefined }, 'tokenizer.ggml.tokens'],
    [
      'a token twice',
      'gguf-bad-tokenizer',
      { 'tokenizer.ggml.tokens': ['a', 'a'], 'tokenizer.ggml.token_type': new Int32Array(2) },
      '"a"',
    ],
    [
      'types of another length',
      'gguf-bad-tokenizer',
      { 'tokenizer.ggml.token_type': new Int32Array(3) },
      'one per token',
    ],
    ['a merge of no tokens', 'gguf-bad-tokenizer', { 'tokenizer.ggml.merges': ['q zzz'] }, 'q zzz'],
    ['a merge of one part', 'gguf-bad-tokenizer', { 'tokenizer.ggml.merges': ['a'] }, '"a"'],
    ['an id outside the vocabulary', 'gguf-bad-tokenizer', { 'tokenizer.ggml.bos_token_id': 600 }, '600'],
    [
      'bos wanted but not named',
      'gguf-bad-tokenizer',
      { 'tokenizer.ggml.add_bos_token': true, 'tokenizer.ggml.bos_token_id': undefined },
      'bos',
    ],
    ['scores missing', 'gguf-bad-tokenizer', { 'tokenizer.ggml.model': 'llama' }, 'tokenizer.ggml.scores'],
  ];
  test.each(cases)('%s', async (_, code, changes, mention) => {
    const metadata = await metadataOf('bpe-600.gguf', changes);
    expect(() => tokenizerFromGguf(metadata)).toThrowError(
      expect.objectContaining({ name: 'QuaverError', code, message: expect.stringContaining(mention) }),
    );
  });

  test('a token called __proto__ is a token', async () => {
    const tokens = [...((await metadataOf('bpe-600.gguf')).get('tokenizer.ggml.tokens') as readonly string[])];
    tokens[599] = '__proto__';
    const metadata = await metadataOf('bpe-600.gguf', { 'tokenizer.ggml.tokens': tokens, 'tokenizer.ggml.merges': [] });
    const { tokenizer } = tokenizerFromGguf(metadata);
    expect(JSON.stringify(tokenizer)).toContain('"__proto__":599');
  });
});
