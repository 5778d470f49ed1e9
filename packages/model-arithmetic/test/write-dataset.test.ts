import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { chatExample, generateProblem, tokenizerFiles } from '../src/index.ts';
import { writeDataset, writeTokenizer } from '../src/node.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'quaver-arithmetic-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string) => path.join(folder, name);
const base = { count: 2500, seed: 9, split: 'validation' } as const;

test('writes the problems of a seed and a split, one chat a line', async () => {
  const seen: number[] = [];
  const options = { ...base, kinds: ['word', 'addition'], difficulties: [2] } as const;
  await writeDataset({ ...options, path: at('a.jsonl'), onProgress: (done) => seen.push(done) });
  const lines = readFileSync(at('a.jsonl'), 'utf8').split('\n');
  expect(lines.pop()).toBe('');
  expect(lines).toHaveLength(2500);
  lines.forEach((line, index) => {
    expect(JSON.parse(line)).toEqual(chatExample(generateProblem(9, index, 'validation', options)));
  });
  expect(seen).toEqual([1000, 2000, 2500]);
});

test('replaces a file when the new one is complete', async () => {
  writeFileSync(at('a.jsonl'), 'before');
  await writeDataset({ ...base, count: 3, path: at('a.jsonl') });
  expect(readFileSync(at('a.jsonl'), 'utf8').split('\n')).toHaveLength(4);
  expect(readdirSync(folder)).toEqual(['a.jsonl']);
});

test('after an abort everything is as it was', async () => {
  writeFileSync(at('a.jsonl'), 'before');
  const controller = new AbortController();
  const writing = writeDataset({
    ...base,
    path: at('a.jsonl'),
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await expect(writing).rejects.toMatchObject({ code: 'aborted', where: { file: at('a.jsonl') } });
  expect(readdirSync(folder)).toEqual(['a.jsonl']);
  expect(readFileSync(at('a.jsonl'), 'utf8')).toBe('before');
});

test('what cannot be written is named, and nothing is left', async () => {
  const write = (name: string, change = {}) => writeDataset({ ...base, count: 2, path: at(name), ...change });
  await expect(write('none/a.jsonl')).rejects.toMatchObject({
    code: 'file-not-found',
    where: { file: at('none/a.jsonl') },
  });
  mkdirSync(at('taken'));
  writeFileSync(at('taken/inside'), '');
  await expect(write('taken')).rejects.toMatchObject({ code: 'file-is-directory' });
  await expect(write('a.jsonl', { count: 0 })).rejects.toMatchObject({ code: 'arithmetic-option' });
  await expect(write('a.jsonl', { seed: -1 })).rejects.toMatchObject({ code: 'arithmetic-option' });
  expect(readdirSync(folder)).toEqual(['taken']);
});

test('writes the tokenizer into a folder', async () => {
  await writeTokenizer(at('made/on the way'));
  for (const [name, bytes] of tokenizerFiles()) {
    expect(new Uint8Array(readFileSync(at(`made/on the way/${name}`)))).toEqual(bytes);
  }
  writeFileSync(at('file'), '');
  await expect(writeTokenizer(at('file/inside'))).rejects.toMatchObject({ code: 'file-not-found' });
});
