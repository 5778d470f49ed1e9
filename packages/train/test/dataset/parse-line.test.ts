import { describe, expect, test } from 'vitest';
import { parseLine } from '../../src/data/parse-line.ts';

const place = { file: 'd.jsonl', line: 3 };

describe('a line of JSONL', () => {
  test.each([
    ['{"text": "a", "source": "x"}', { text: 'a' }],
    ['{"prompt": "", "completion": "b"}', { prompt: '', completion: 'b' }],
    ['{"messages": [{"role": "user", "content": ""}]}\r', { messages: [{ role: 'user', content: '' }] }],
  ])('%s', (line, example) => {
    expect(parseLine(line, place)).toEqual(example);
  });

  test.each([
    ['{"text": ', 'data-malformed-json', 'is not JSON'],
    ['["a"]', 'data-missing-field', 'is not a JSON object'],
    ['null', 'data-missing-field', 'is not a JSON object'],
    ['{}', 'data-missing-field', 'fields: none'],
    ['{"content": "a"}', 'data-missing-field', 'fields: content'],
    ['{"prompt": "a"}', 'data-missing-field', "has a 'prompt' and no 'completion'"],
    ['{"completion": "a"}', 'data-missing-field', "has no 'prompt'"],
    ['{"text": "a", "messages": []}', 'data-bad-field', "'text' and 'messages'"],
    ['{"text": 7}', 'data-bad-field', "'text'"],
    ['{"text": ""}', 'data-bad-field', 'is empty'],
    ['{"text": "\\ud800"}', 'data-bad-field', 'surrogate'],
    ['{"prompt": "a", "completion": ""}', 'data-bad-field', 'is empty'],
    ['{"messages": []}', 'data-bad-field', 'is empty'],
    ['{"messages": [{"role": "user"}]}', 'data-bad-field', "'messages.0.content'"],
    ['{"messages": [{"role": "robot", "content": "a"}]}', 'data-bad-field', "'messages.0.role'"],
  ])('%s: %s', (line, code, message) => {
    expect(() => parseLine(line, place)).toThrow(
      expect.objectContaining({
        code,
        where: place,
        message: expect.stringContaining(message),
        hint: expect.any(String),
      }),
    );
    expect(() => parseLine(line, place)).toThrow(/^d\.jsonl:3: /);
  });
});
