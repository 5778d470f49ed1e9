import { readFileSync } from 'node:fs';
import { StreamDecoder, Tokenizer } from '@quaver/generate';
import { createLlama } from '@quaver/models';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  chatExample,
  difficulties,
  generateProblem,
  modelConfig,
  splits,
  tokenizerConfig,
  tokenizerFiles,
  tokenizerJson,
} from '../src/index.ts';

const module = createLlama(modelConfig, { seed: 0, files: tokenizerFiles() });
const tokenizer = await Tokenizer.fromModule(module);
const encode = (text: string) => tokenizer.encode(text, { special: false });

/** Made by the tokenizers library; see data/ORIGIN.md. */
const golden = JSON.parse(readFileSync(new URL('data/tokenized.json', import.meta.url), 'utf8')) as {
  readonly encoded: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly chats: readonly {
    readonly messages: Parameters<Tokenizer['applyChatTemplate']>[0];
    readonly text: string;
  }[];
};

test('the files are what the module carries', () => {
  expect(tokenizer.files.tokenizer).toEqual(JSON.parse(JSON.stringify(tokenizerJson())));
  expect(tokenizer.files.config).toEqual(tokenizerConfig());
});

test('ids are without gaps, and the model has a row for each', () => {
  const { vocab } = tokenizerJson().model as { readonly vocab: Readonly<Record<string, number>> };
  const ids = Object.values(vocab).sort((a, b) => a - b);
  expect(ids).toEqual(ids.map((_, i) => i));
  expect(ids.length).toBeLessThanOrEqual(modelConfig.vocab_size as number);
  expect([vocab['<|end|>'], vocab['<|pad|>']]).toEqual([modelConfig.eos_token_id, modelConfig.pad_token_id]);
});

test.each(golden.encoded)('encodes text %# as the tokenizers library does', ({ text, ids }) => {
  expect(encode(text)).toEqual(ids);
  expect(tokenizer.decode(ids, { special: true })).toBe(text);
});

test.each(golden.chats)('renders chat %# as Jinja2 does', ({ messages, text }) => {
  expect(tokenizer.applyChatTemplate(messages, { generationPrompt: false })).toBe(text);
});

describe('no text is lost', () => {
  const texts = fc.oneof(
    fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) }),
    fc.string({ unit: 'binary' }),
    fc.string({
      unit: fc.constantFrom(...' \n\t0123456789+-*=?#().,', ' Tom', 'apples', '<|end|>', '<|user|>', 'é', '🍎'),
    }),
  );

  test('there and back', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const ids = encode(text);
        expect(tokenizer.decode(ids, { special: true })).toBe(text);
        expect(ids.every((id) => id < (modelConfig.vocab_size as number))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test('token by token', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const plain = text.replaceAll('<|', '');
        const decoder = new StreamDecoder(tokenizer);
        expect(
          encode(plain)
            .map((id) => decoder.push(id))
            .join('') + decoder.flush(),
        ).toBe(plain);
      }),
    );
  });
});

test('a digit is a token, and a word of a story is one', () => {
  expect(encode('8053')).toHaveLength(4);
  const story = 'Tom has 3 apples and buys 14 more. How many apples does Tom have?';
  // Tom, has, ␣, 3, apples, and, buys, ␣, 1, 4, more, ., How, many, apples, does, Tom, have, ?
  expect(encode(story)).toHaveLength(19);
});

test('no word of a problem falls into bytes, and few tokens are enough', () => {
  for (const split of splits) {
    for (let index = 0; index < 2000; index++) {
      const problem = generateProblem(6, index, split, { difficulties });
      const text = tokenizer.applyChatTemplate(chatExample(problem).messages, { generationPrompt: false });
      const tokens = encode(text);
      const letters = tokens.filter((id) => /^\p{L}$/u.test(tokenizer.decode([id])));
      expect(letters, text).toEqual([]);
      expect(tokens.length, text).toBeLessThanOrEqual(problem.difficulty < 4 ? 72 : 80);
    }
  }
});

test('a conversation, and the prompt before its answer', () => {
  const messages = [
    { role: 'user', content: '47 + 85 = ?' },
    { role: 'assistant', content: '7+5=12\n4+8+1=13\n#### 132' },
  ] as const;
  const prompt = tokenizer.applyChatTemplate(messages.slice(0, 1));
  expect(prompt).toBe('<|user|>47 + 85 = ?<|assistant|>');
  expect(tokenizer.applyChatTemplate(messages, { generationPrompt: false })).toBe(
    `${prompt}7+5=12\n4+8+1=13\n#### 132<|end|>`,
  );
  expect(module.metadata['model.eos_token_ids']).toBe(JSON.stringify(encode('<|end|>')));
  expect(() => tokenizer.applyChatTemplate([{ role: 'system', content: 'Be brief.' }])).toThrow(
    'roles user and assistant only, not system',
  );
});

test('the files beside the sources are what the code gives', () => {
  for (const [name, bytes] of tokenizerFiles()) {
    expect(readFileSync(new URL(`../tokenizer/${name}`, import.meta.url), 'utf8')).toBe(
      new TextDecoder().decode(bytes),
    );
  }
});
