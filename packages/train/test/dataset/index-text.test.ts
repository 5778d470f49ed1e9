import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { IndexedExample } from '../../src/data/node/example-index.ts';
import { indexJsonl } from '../../src/data/node/index-jsonl.ts';
import { indexText } from '../../src/data/node/index-text.ts';

async function* pieces(bytes: Uint8Array, sizes: readonly number[]) {
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length]!;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function indexed(text: string | Uint8Array, sizes: readonly number[], passageBytes: number, separator?: string) {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const found: IndexedExample[] = [];
  const file = { path: 'd.txt', format: 'text' as const, passageBytes, ...(separator && { separator }) };
  await indexText(file, pieces(bytes, sizes), (example) => found.push(example));
  const parts = found.map(({ offset, length }) => Buffer.from(bytes.subarray(offset, offset + length)).toString());
  return { found, parts };
}

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 });
const text = fc.string({
  unit: fc.constantFrom('a', 'b', ' ', '\n', '\n\n', '--', '-', 'é', '€', '😀'),
  maxLength: 120,
});

describe('documents of a text file', () => {
  test('are what String.split finds, whatever pieces the file is read in', async () => {
    await fc.assert(
      fc.asyncProperty(text, sizes, fc.constantFrom('\n\n', '--', ' ', '€'), async (content, cut, separator) => {
        const { parts, found } = await indexed(content, cut, 4096, separator);
        expect(parts).toEqual(content.split(separator).filter((document) => /[^ \n]/.test(document)));
        for (const { begins, ends } of found) expect([begins, ends]).toEqual([true, true]);
      }),
    );
  });

  test('are cut into parts of whole characters that make them up, whatever pieces the file is read in', async () => {
    await fc.assert(
      fc.asyncProperty(text, sizes, fc.constantFrom(undefined, '--'), async (content, cut, separator) => {
        const { parts, found } = await indexed(content, cut, 16, separator);
        const documents: string[] = [];
        for (const [index, { begins, ends, length, offset, line }] of found.entries()) {
          expect(length).toBeLessThanOrEqual(16);
          expect(line).toBe(Buffer.from(content).subarray(0, offset).toString().split('\n').length);
          expect(parts[index]).not.toContain('\uFFFD');
          if (begins) documents.push('');
          documents.push((documents.pop() ?? '') + parts[index]);
          expect(ends).toBe(found[index + 1]?.begins ?? true);
        }
        const blank = (document: string) => /^[ \n]*$/.test(document) && Buffer.byteLength(document) <= 16;
        expect(documents).toEqual((separator ? content.split(separator) : [content]).filter((one) => !blank(one)));
        expect(await indexed(content, [1 << 20], 16, separator)).toEqual({ parts, found });
      }),
      { numRuns: 300 },
    );
  });

  test('parts end with a line, else with a word, else with a character', async () => {
    const ends = async (passageBytes: number) =>
      (await indexed('one two three\nfour five six', [5], passageBytes)).parts;
    expect(await ends(20)).toEqual(['one two three\n', 'four five six']);
    // The line end is in the first half of what could be taken.
    expect(await ends(32)).toEqual(['one two three\nfour five six']);
    expect((await indexed('one\ntwo three four five six', [5], 16)).parts).toEqual([
      'one\ntwo three ',
      'four five six',
    ]);
    expect((await indexed('😀'.repeat(9), [5], 18)).parts).toEqual(['😀'.repeat(4), '😀'.repeat(4), '😀']);
  });

  test('bad UTF-8 is named by its line', async () => {
    const bytes = Buffer.concat([Buffer.from('é\nb\n'), Buffer.of(0x61, 0xff), Buffer.from('\nc')]);
    for (const passageBytes of [16, 4096]) {
      await expect(indexed(bytes, [2], passageBytes)).rejects.toMatchObject({
        code: 'data-bad-utf8',
        where: { file: 'd.txt', line: 3 },
      });
    }
  });
});

describe('lines of a JSONL file', () => {
  const index = async (content: string | Uint8Array, cut: readonly number[]) => {
    const found: IndexedExample[] = [];
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    await indexJsonl('d.jsonl', pieces(bytes, cut), (example) => found.push(example));
    return found.map(({ offset, length, line }) => ({
      line,
      ...JSON.parse(Buffer.from(bytes.subarray(offset, offset + length)).toString()),
    }));
  };
  const value = fc.oneof(
    fc.constant(undefined),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((one) => one.isWellFormed()),
  );

  test('are found and numbered, blank ones left out, whatever pieces the file is read in', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(value), sizes, fc.constantFrom('\n', '\r\n'), async (texts, cut, lineEnd) => {
        const content = texts.map((one) => (one === undefined ? ' \t' : JSON.stringify({ text: one }))).join(lineEnd);
        const expected = texts.flatMap((one, at) => (one === undefined ? [] : [{ line: at + 1, text: one }]));
        expect(await index(content, cut)).toEqual(expected);
      }),
    );
  });

  test.each<[string, string | Uint8Array, string, number]>([
    ['no JSON', '{"text": "a"}\n\n{"text": "a"\n', 'data-malformed-json', 3],
    ['two values on a line', '{"text": "a"} {"text": "b"}', 'data-malformed-json', 1],
    ['no field', '{"text": "a"}\n{"txt": "a"}', 'data-missing-field', 2],
    ['bad UTF-8', Buffer.from('{"text": "a"}\n{"text": "\xe9"}\n', 'latin1'), 'data-bad-utf8', 2],
    ['UTF-16', Buffer.from('\uFEFF{"text": "a"}\n', 'utf16le'), 'data-bad-utf8', 1],
    ['no end of the line', new Uint8Array(66 << 20).fill(0x61), 'data-line-too-long', 1],
  ])('%s: an error with the line', async (_, content, code, line) => {
    await expect(index(content, [1 << 20])).rejects.toMatchObject({ code, where: { file: 'd.jsonl', line } });
  });
});
