import { type ChatMessage, Tokenizer } from '@quaver/generate';
import { describe, expect, test } from 'vitest';
import { ExampleEncoder, endTokenOf } from '../../src/data/encode-example.ts';
import type { Example } from '../../src/data/example.ts';
import { bos, eos, templates, testTokenizer } from './support/tokenizers.ts';

const place = { file: 'chats.jsonl', line: 7 };

function encode(example: Example, tokenizer = testTokenizer()) {
  const { tokens, loss, divisible } = new ExampleEncoder(tokenizer, endTokenOf(tokenizer)).encode(example, place);
  const decode = (wanted: number) =>
    tokenizer.decode(
      [...tokens].filter((_, index) => loss[index] === wanted),
      { special: true },
    );
  return { tokens: [...tokens], loss: [...loss], divisible, predicted: decode(1), given: decode(0) };
}

describe('a text', () => {
  test('stands between BOS and the end token; all of it is predicted', () => {
    // As in the tokenizers library: hello is 61.
    expect(encode({ text: 'hello' })).toMatchObject({ tokens: [bos, 61, eos], loss: [1, 1, 1], divisible: true });
  });

  test('in parts: BOS before the first, the end token after the last', () => {
    const part = (begins: boolean, ends: boolean) => encode({ text: 'hello', begins, ends } as Example).tokens;
    expect([part(true, false), part(false, false), part(false, true)]).toEqual([[bos, 61], [61], [61, eos]]);
  });

  test('no end token where the tokenizer has none, none twice', () => {
    const tokenizer = testTokenizer();
    expect([...new ExampleEncoder(tokenizer, undefined).encode({ text: 'hello' }, place).tokens]).toEqual([bos, 61]);
    expect(encode({ text: 'hello<|end|>' }).tokens).toEqual([bos, 61, eos]);
  });
});

describe('a prompt and its completion', () => {
  test('the completion and the end token are predicted', () => {
    expect(encode({ prompt: 'ab', completion: ' hello' })).toMatchObject({
      given: '<|begin|>ab',
      predicted: ' hello<|end|>',
      divisible: false,
    });
  });

  test('the prompt is what generation makes of it, also where a token of the whole text would straddle', () => {
    const tokenizer = testTokenizer();
    expect(tokenizer.encode('hello')).toEqual([bos, 61]);
    const { tokens, predicted } = encode({ prompt: 'hel', completion: 'lo' }, tokenizer);
    const prompt = tokenizer.encode('hel');
    expect(tokens.slice(0, prompt.length)).toEqual(prompt);
    expect(predicted).toBe('lo<|end|>');
  });

  test('a tokenizer that begins every text with a space does so once', () => {
    const tokens = ['<s>', '</s>', '▁', 't', 'h', 'e', 'c', 'a'];
    const special = (id: number) => ({ id, content: tokens[id]!, special: true, normalized: false });
    const tokenizer = new Tokenizer(
      {
        added_tokens: [special(0), special(1)],
        // As Llama 2 comes.
        normalizer: {
          type: 'Sequence',
          normalizers: [
            { type: 'Prepend', prepend: '▁' },
            { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
          ],
        },
        pre_tokenizer: null,
        post_processor: null,
        decoder: null,
        model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: [] },
      },
      { eos_token: '</s>' },
    );
    expect(encode({ prompt: 'the', completion: ' cat' }, tokenizer)).toMatchObject({
      tokens: [2, 3, 4, 5, 2, 6, 7, 3, 1],
      loss: [0, 0, 0, 0, 1, 1, 1, 1, 1],
    });
  });

  test('an empty prompt leaves BOS', () => {
    expect(encode({ prompt: '', completion: 'hello' })).toMatchObject({ tokens: [bos, 61, eos], loss: [1, 1, 1] });
  });
});

const conversation: readonly ChatMessage[] = [
  { role: 'system', content: 'be kind' },
  { role: 'user', content: 'hello' },
  { role: 'assistant', content: 'yes' },
  { role: 'user', content: 'more' },
  { role: 'assistant', content: 'no\nno' },
];

describe('a conversation', () => {
  test('ChatML: the answers with the token that ends the turn, without the line end after it', () => {
    const tokenizer = testTokenizer({ template: templates.chatml! });
    const { predicted, tokens } = encode({ messages: conversation }, tokenizer);
    expect(predicted).toBe('yes<|im_end|>no\nno<|im_end|>');
    const whole =
      '<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n' +
      '<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\nno\nno<|im_end|>\n';
    expect(tokenizer.decode(tokens, { special: true })).toBe(whole);
    expect(tokens).toEqual(tokenizer.encode(whole, { special: false }));
  });

  test('what stands before each answer is the prompt of generation', () => {
    const tokenizer = testTokenizer({ template: templates.chatml! });
    const { tokens, loss } = encode({ messages: conversation }, tokenizer);
    const prompt = tokenizer.encode(tokenizer.applyChatTemplate(conversation.slice(0, 4)), { special: false });
    expect(tokens.slice(0, prompt.length)).toEqual(prompt);
    expect(loss.slice(prompt.length - 1, prompt.length + 1)).toEqual([0, 1]);
  });

  test('Llama 3 headers', () => {
    const tokenizer = testTokenizer({ template: templates.headers! });
    expect(encode({ messages: conversation }, tokenizer).predicted).toBe('yes<|eot_id|>no\nno<|eot_id|>');
  });

  test('Llama 2 brackets, which know no generation prompt', () => {
    const tokenizer = testTokenizer({ template: templates.brackets! });
    expect(encode({ messages: conversation.slice(1) }, tokenizer)).toMatchObject({
      predicted: ' yes<|end|> no\nno<|end|>',
      // The vocabulary has none of [INST].
      given: '<|begin|> hello  more ',
    });
  });

  test('a template without tokens for turns: all that ends the turn', () => {
    const tokenizer = testTokenizer({ template: templates.chatml!, turns: false });
    // The vocabulary has none of <|_>.
    expect(encode({ messages: conversation }, tokenizer).predicted).toBe('yesimend\nno\nnoimend\n');
  });

  test('an answer that follows an answer, and messages after the last answer', () => {
    const tokenizer = testTokenizer({ template: templates.chatml! });
    const messages: readonly ChatMessage[] = [
      ...conversation.slice(1, 3),
      { role: 'assistant', content: 'a' },
      { role: 'user', content: 'b' },
    ];
    expect(encode({ messages }, tokenizer)).toMatchObject({
      predicted: 'yes<|im_end|>a<|im_end|>',
      given: expect.stringMatching(/<\|im_start\|>user\nb<\|im_end\|>\n$/),
    });
  });

  test.each<[string, string, readonly ChatMessage[], string]>([
    ['no answer', templates.chatml!, conversation.slice(0, 2), 'data-no-answer'],
    [
      // As templates of reasoning models do: earlier answers lose their thoughts.
      'a template that renders an earlier answer differently',
      "{% for m in messages %}[{{ m.role }}]{{ m.content if loop.last or m.role == 'user' else '…' }}{% endfor %}",
      conversation.slice(1),
      'chat-template-unstable',
    ],
    [
      'a template that counts the messages first',
      '{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}',
      conversation,
      'chat-template-unstable',
    ],
    ['a role that the template refuses', templates.brackets!, conversation, 'chat-template-invalid'],
  ])('%s: an error with file and line', (_, template, messages, code) => {
    expect(() => encode({ messages }, testTokenizer({ template }))).toThrow(
      expect.objectContaining({ code, where: place, message: expect.stringMatching(/^chats\.jsonl:7: /) }),
    );
  });
});
