import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StreamDecoder, Tokenizer } from '../src/index.ts';
import { fixtureTokenizer, fixtureVocabulary, sentencePieceTokenizer } from './support/fixture-tokenizer.ts';

/** The token that is one byte of a character of several. */
function fixtureToken(byte: number): number {
  const order = [0xc3, 0xa9, 0xa8, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, 0x81];
  return 47 + order.indexOf(byte);
}

function stream(tokenizer: Tokenizer, tokens: readonly number[]): string[] {
  const decoder = new StreamDecoder(tokenizer);
  return [...tokens.map((token) => decoder.push(token)), decoder.flush()];
}

describe.each<[string, () => Tokenizer, number]>([
  ['byte-level', fixtureTokenizer, fixtureVocabulary],
  ['SentencePiece', sentencePieceTokenizer, 21],
])('%s', (_, make, vocabulary) => {
  const tokenizer = make();

  test('the pieces together are the text of all tokens, broken characters and special tokens included', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: vocabulary - 1 }), { maxLength: 90 }), (tokens) => {
        expect(stream(tokenizer, tokens).join('')).toBe(tokenizer.decode(tokens));
      }),
      { numRuns: 400 },
    );
  });

  test('ids that the tokenizer does not know are nothing', () => {
    expect(stream(tokenizer, [vocabulary + 3, 1, vocabulary + 200]).join('')).toBe('');
  });
});

test('a character is given out whole, when its last byte has come', () => {
  const tokenizer = fixtureTokenizer();
  const text = 'a é€😀 1';
  const tokens = tokenizer.encode(text, { special: false });
  expect(tokens.length).toBeGreaterThan([...text].length);
  const pieces = stream(tokenizer, tokens);
  expect(pieces.join('')).toBe(text);
  for (const piece of pieces) expect(piece).not.toContain('\uFFFD');
});

test('a character that special tokens interrupt, for however long, is whole in the end', () => {
  const tokenizer = fixtureTokenizer();
  const bytes = [0xe2, 0x82, 0xac].map((byte) => fixtureToken(byte));
  for (const gaps of [1, 10, 11, 12, 13, 24, 25, 40]) {
    const pause = new Array<number>(gaps).fill(2);
    const tokens = [...new Array<number>(14).fill(3), bytes[0]!, ...pause, bytes[1]!, ...pause, bytes[2]!, 4];
    expect(tokenizer.decode(tokens)).toBe(`${'a'.repeat(14)}€b`);
    expect(stream(tokenizer, tokens).join('')).toBe(`${'a'.repeat(14)}€b`);
  }
});

test('text before an unfinished character is not held back', () => {
  const tokenizer = fixtureTokenizer();
  const euro = tokenizer.encode('€', { special: false });
  const decoder = new StreamDecoder(tokenizer);
  expect(decoder.push(tokenizer.encode('hello', { special: false })[0]!)).toBe('hello');
  expect(decoder.push(euro[0]!)).toBe('');
  expect(decoder.push(euro[1]!)).toBe('€');
});

test('a long stream takes no longer per token than a short one', () => {
  const tokenizer = fixtureTokenizer();
  const longest = { decoded: 0 };
  const counting = Object.assign(Object.create(Tokenizer.prototype) as Tokenizer, {
    decode: (tokens: readonly number[]) => {
      longest.decoded = Math.max(longest.decoded, tokens.length);
      return tokenizer.decode(tokens);
    },
  });
  // Lead bytes only: a character that never ends.
  const lead = tokenizer.encode('€', { special: false })[0]!;
  for (const token of [3, lead]) {
    expect(stream(counting, new Array(500).fill(token)).join('').length).toBe(500);
  }
  expect(longest.decoded).toBeLessThan(40);
});
