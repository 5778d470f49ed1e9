import { type Module, memoryData } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { type ChatMessage, Tokenizer } from '../src/index.ts';
import {
  fixtureTokenizer,
  readJson,
  sentencePieceTokenizer,
  tokenizerConfig,
  tokenizerJson,
} from './support/fixture-tokenizer.ts';

interface Tokenized {
  readonly encode: readonly { readonly text: string; readonly special: boolean; readonly ids: number[] }[];
  readonly decode: readonly { readonly text: string; readonly special: boolean; readonly ids: number[] }[];
}

interface Chats {
  readonly templates: Readonly<Record<string, string>>;
  readonly cases: readonly {
    readonly template: string;
    readonly messages: readonly ChatMessage[];
    readonly text?: string;
    readonly error?: string;
  }[];
}

const tokenized = readJson<Tokenized>('tokenized.json');
const chats = readJson<Chats>('chats.json');

describe('text and ids, as the tokenizers library has them', () => {
  const tokenizer = fixtureTokenizer();

  test.each(tokenized.encode)('encodes $text (special tokens: $special)', ({ text, special, ids }) => {
    expect(tokenizer.encode(text, { special })).toEqual(ids);
  });

  test.each(tokenized.decode)('decodes $ids (special tokens: $special)', ({ text, special, ids }) => {
    expect(tokenizer.decode(ids, { special })).toBe(text);
  });

  test('characters without a token are left out, ids without one are nothing', () => {
    // Ü is C3 9C: the vocabulary has the first byte, 47, and not the second.
    expect(tokenizer.encode('aÜb', { special: false })).toEqual([3, 47, 4]);
    // No token for z, and none for the unknown.
    expect(sentencePieceTokenizer().encode('.z!', { special: false })).toEqual([19, 20]);
    expect(tokenizer.decode([500, 3, 97, 4, -1])).toBe('ab');
    expect(tokenizer.decode([500])).toBe('');
    expect(tokenizer.decode([])).toBe('');
    expect(tokenizer.decode([1])).toBe('');
    expect(tokenizer.decode([1], { special: true })).toBe('<|begin|>');
  });
});

describe('chat templates, as Jinja2 renders them', () => {
  test.each(chats.cases)('$template: $messages', ({ template, messages, text, error }) => {
    const tokenizer = new Tokenizer(tokenizerJson, { ...tokenizerConfig, chat_template: chats.templates[template] });
    if (text !== undefined) expect(tokenizer.applyChatTemplate(messages)).toBe(text);
    else {
      expect(() => tokenizer.applyChatTemplate(messages)).toThrow(
        expect.objectContaining({ code: 'chat-template-invalid', message: expect.stringContaining(error!) }),
      );
    }
  });

  const hello: readonly ChatMessage[] = [{ role: 'user', content: 'hello' }];
  const rendered = (config: object, file?: string) =>
    new Tokenizer(tokenizerJson, { ...tokenizerConfig, ...config }, file).applyChatTemplate(hello);

  test('a list of named templates: the default one, else the first', () => {
    const named = (...names: string[]) => ({ chat_template: names.map((name) => ({ name, template: `as ${name}` })) });
    expect(rendered(named('tool_use', 'default'))).toBe('as default');
    expect(rendered(named('tool_use', 'rag'))).toBe('as tool_use');
  });

  test('a template in a file of its own comes first', () => {
    expect(rendered({ chat_template: 'config' }, 'file: {{ messages[0].content }}')).toBe('file: hello');
  });

  test.each([{}, { chat_template: null }, { chat_template: [] }, { chat_template: 7 }])('none in %o', (config) => {
    expect(() => rendered(config)).toThrow(expect.objectContaining({ code: 'chat-template-missing' }));
  });

  test.each(['{% for %}', '{{ unknown() }}', '{% if %}'])('a damaged one: %s', (template) => {
    expect(() => rendered({ chat_template: template })).toThrow(
      expect.objectContaining({ code: 'chat-template-invalid' }),
    );
  });
});

describe('from a module', () => {
  const module = (files: Readonly<Record<string, string>>): Module => ({
    name: 'm',
    symbols: [],
    parameters: [],
    states: [],
    functions: [],
    metadata: {},
    attachments: new Map(
      Object.entries(files).map(([name, text]) => [name, memoryData(new TextEncoder().encode(text))]),
    ),
  });
  const json = JSON.stringify(tokenizerJson);

  test('with its configuration and template', async () => {
    const tokenizer = await Tokenizer.fromModule(
      module({
        'tokenizer.json': json,
        'tokenizer_config.json': JSON.stringify(tokenizerConfig),
        'chat_template.jinja': '{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ messages | length }}',
      }),
    );
    expect(tokenizer.encode('hello')).toEqual([1, 61]);
    expect(tokenizer.applyChatTemplate([])).toBe('<|begin|><|end|>0');
  });

  test('without a configuration', async () => {
    const tokenizer = await Tokenizer.fromModule(module({ 'tokenizer.json': json }));
    expect(tokenizer.decode([1, 61])).toBe('hello');
  });

  test.each<[string, Record<string, string>, string]>([
    ['no tokenizer', {}, 'tokenizer-missing'],
    ['no JSON', { 'tokenizer.json': '{' }, 'tokenizer-invalid'],
    ['a list', { 'tokenizer.json': '[]' }, 'tokenizer-invalid'],
    ['null', { 'tokenizer.json': 'null' }, 'tokenizer-invalid'],
    ['an object of something else', { 'tokenizer.json': '{"a": 1}' }, 'tokenizer-invalid'],
    ['a model without its vocabulary', { 'tokenizer.json': json.replace('"vocab"', '"words"') }, 'tokenizer-invalid'],
    ['a broken configuration', { 'tokenizer.json': json, 'tokenizer_config.json': 'null' }, 'tokenizer-invalid'],
  ])('%s', async (_, files, code) => {
    await expect(Tokenizer.fromModule(module(files))).rejects.toMatchObject({ code });
  });
});
