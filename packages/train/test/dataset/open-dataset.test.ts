import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { TokenizerWorker } from '../../src/data/node/worker-source.ts';
import { type DataCursor, Dataset, type Example } from '../../src/index.ts';
import { type IndexProgress, type OpenDatasetOptions, openDataset } from '../../src/node.ts';
import { templates, testTokenizer } from './support/tokenizers.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'quaver-data-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let written = 0;

function file(name: string, content: string | Uint8Array): string {
  const full = path.join(folder, `${written++}-${name}`);
  writeFileSync(full, content);
  return full;
}

const tokenizer = testTokenizer({ template: templates.chatml! });
const shape = { tokenizer, rowTokens: 64, batchRows: 2, align: 8, seed: 11 };
const open = (files: string | readonly string[], more: Partial<OpenDatasetOptions> = {}) =>
  openDataset({ ...shape, files, ...more });
const both = [{ worker: true }, { worker: false }];

const examples: readonly Example[] = Array.from({ length: 300 }, (_, index): Example => {
  const words = 'hello '.repeat((index * 7) % 23);
  if (index % 3 === 0) return { text: `${words}é€` };
  if (index % 3 === 1) return { prompt: words, completion: 'old' };
  return {
    messages: [
      { role: 'user', content: 'hello' },
      { role: 'assistant', content: 'cab' },
    ],
  };
});
const lines = examples.map((example) => JSON.stringify(example)).join('\n');

async function batches(dataset: Dataset, epochs = 2) {
  const all = await Array.fromAsync(dataset.batches({ epochs }));
  await dataset.close();
  return all;
}

describe('files', () => {
  test('give the batches of the same examples in memory, with a worker and without', async () => {
    const jsonl = file('a.jsonl', lines);
    const options = { ...shape, tooLong: 'truncate' as const };
    const inMemory = (await batches(await Dataset.fromExamples(examples, options))).map(({ batch }) => batch);
    expect(inMemory.length).toBeGreaterThan(20);
    for (const how of both) {
      const inFile = await batches(await open(jsonl, { ...how, tooLong: 'truncate' }));
      expect(inFile.map(({ batch }) => batch)).toEqual(inMemory);
    }
  });

  test('of text, cut into documents and parts, give the same with a worker and without', async () => {
    const long = Array.from({ length: 90 }, (_, index) => `hello ${'abc '.repeat(index)}\nold\n`);
    const text = [file('a.txt', long.join('')), file('b.txt', `${long.slice(0, 9).join('---')}---`)];
    const [first, second] = await Promise.all(
      both.map(async (how) => {
        const dataset = await open(text, { ...how, separator: '---', validation: { fraction: 0.2 } });
        const validation = await Array.fromAsync(dataset.validation());
        return { statistics: dataset.statistics, validation, training: await batches(dataset) };
      }),
    );
    expect(first).toEqual(second);
    expect(first!.statistics.trainingExamples + first!.statistics.validationExamples).toBeGreaterThan(9 + 10);
  });

  test('a document is its file, whole where it is short', async () => {
    const dataset = await open(file('a.txt', 'hello\n\nhello'), { validation: { file: file('v.txt', 'hello') } });
    const batch = (await Array.fromAsync(dataset.batches({ epochs: 1 })))[0]!.batch;
    const expected = tokenizer.encode('hello\n\nhello');
    expect([...batch.tokens.subarray(0, expected.length + 1)]).toEqual([...expected, 0]);
    expect((await Array.fromAsync(dataset.validation()))[0]!.realTokens).toBe(2);
    await dataset.close();
  });

  test('a byte order mark is no text', async () => {
    const [first] = await batches(await open(file('a.txt', '\uFEFFhello')), 1);
    expect(first!.batch.realTokens).toBe(2);
    expect(await batches(await open(file('a.jsonl', '\uFEFF{"text": "hello"}')), 1)).toHaveLength(1);
  });

  test('are read once, with progress', async () => {
    const jsonl = file('a.jsonl', `{"text": "hello"}\n`.repeat(100_000));
    for (const how of both) {
      const progress: IndexProgress[] = [];
      const dataset = await open(jsonl, { ...how, onProgress: (now) => progress.push(now) });
      expect(dataset.statistics.trainingExamples).toBe(100_000);
      expect(progress.map(({ doneBytes }) => doneBytes)).toEqual([1 << 20, 1_800_000]);
      expect(progress[0]).toMatchObject({ phase: 'index', file: jsonl, totalBytes: 1_800_000 });
      await dataset.close();
    }
  });
});

describe('a cursor', () => {
  test('goes on in another dataset on the same files, also moved; not when a byte of them changed', async () => {
    const content = `${'{"text": "hello"}\n'.repeat(50)}{"text": "cab"}\n`;
    const jsonl = file('a.jsonl', content);
    const all = await batches(await open(jsonl));
    const { cursor } = JSON.parse(JSON.stringify(all[3])) as { cursor: DataCursor };
    const moved = file('moved.jsonl', content);
    const dataset = await open(moved);
    const rest = await Array.fromAsync(dataset.batches({ cursor, epochs: 2 }));
    expect(rest).toEqual(all.slice(4));
    await dataset.close();

    for (const change of [content.replace('cab', 'cac'), `${content}\n`]) {
      const changed = await open(file('a.jsonl', change));
      await expect(changed.batches({ cursor }).next()).rejects.toMatchObject({ code: 'data-changed' });
      await changed.close();
    }
    const fewer = await open(moved, { validation: { file: file('v.txt', 'a') } });
    await expect(fewer.batches({ cursor }).next()).rejects.toMatchObject({ code: 'data-changed' });
    await fewer.close();
  });
});

describe('errors', () => {
  test.each(both)('of the data name file, line, reason and remedy: %o', async (how) => {
    const unstable = testTokenizer({ template: '{{ messages | length }}{{ messages[0].content }}' });
    const cases: readonly [string, string, Partial<OpenDatasetOptions>, string, number | undefined][] = [
      ['a.jsonl', '', {}, 'data-empty', undefined],
      ['a.txt', ' \n\t\n', {}, 'data-empty', undefined],
      ['a.jsonl', '\n \n', {}, 'data-empty', undefined],
      ['a.jsonl', '{"text": "a"}\nhello\n', {}, 'data-malformed-json', 2],
      ['a.txt', '{"text": "a"}\n{"prompt": "a"}\n', { format: 'jsonl' }, 'data-missing-field', 2],
      ['a.ndjson', '{"text": "a"}\n{"text": ["a"]}\n', {}, 'data-bad-field', 2],
      ['a.jsonl', '{"text": "a"}\n{"prompt": "a", "completion": "b"}\n', { rowTokens: 1 }, 'data-too-long', 2],
      ['a.jsonl', '{"text": "a"}\n{"messages": [{"role": "user", "content": "a"}]}', {}, 'data-no-answer', 2],
      [
        'a.jsonl',
        '\n\n{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]}',
        { tokenizer: unstable },
        'chat-template-unstable',
        3,
      ],
    ];
    for (const [name, content, options, code, line] of cases) {
      const full = file(name, content);
      const work = async () => {
        const dataset = await open(full, { ...how, ...options });
        try {
          for await (const _ of dataset.batches({ epochs: 1 }));
        } finally {
          await dataset.close();
        }
      };
      const place = line === undefined ? full : `${full}:${line}`;
      await expect(work()).rejects.toMatchObject({
        name: 'QuaverError',
        code,
        where: line === undefined ? { file: full } : { file: full, line },
        message: expect.stringContaining(`${place}: `),
        hint: expect.any(String),
      });
    }
  });

  test.each(both)('of files and options: %o', async (how) => {
    const text = file('a.txt', 'hello');
    const link = path.join(folder, `${written++}-link.txt`);
    symlinkSync(text, link);
    const cases: readonly [string | readonly string[], Partial<OpenDatasetOptions>, string][] = [
      [path.join(folder, 'none.txt'), {}, 'file-not-found'],
      [folder, {}, 'file-is-directory'],
      [[], {}, 'dataset-option'],
      [text, { separator: '' }, 'dataset-option'],
      [text, { passageBytes: 3 }, 'dataset-option'],
      [text, { validation: { fraction: 0.5 } }, 'validation-split-impossible'],
      [text, { validation: { file: link } }, 'validation-not-disjoint'],
      [text, { validation: { file: path.join(folder, 'none.txt') } }, 'file-not-found'],
    ];
    for (const [files, options, code] of cases) {
      await expect(open(files, { ...how, ...options })).rejects.toMatchObject({ code });
    }
  });

  test('a file that shrank while it is read', async () => {
    for (const how of both) {
      const jsonl = file('a.jsonl', lines);
      const dataset = await open(jsonl, { ...how, tooLong: 'skip' });
      writeFileSync(jsonl, '');
      await expect(dataset.batches().next()).rejects.toMatchObject({
        code: 'source-truncated',
        where: { file: jsonl },
      });
      await dataset.close();
    }
  });
});

describe('the worker', () => {
  test('that ends is an error, for what waits and for what comes after', async () => {
    const worker = new TokenizerWorker(new URL('./support/dying-worker.mjs', import.meta.url));
    const files = [{ path: file('a.txt', 'hello'), format: 'text' as const, passageBytes: 99 }];
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(worker.open(files, tokenizer.files, undefined)).rejects.toMatchObject({
        code: 'tokenizer-worker-failed',
        message: expect.stringContaining('code 3'),
      });
    }
    await worker.close();
  });

  test('that cannot be loaded is an error', async () => {
    const worker = new TokenizerWorker(new URL('./support/none.mjs', import.meta.url));
    await expect(worker.open([], tokenizer.files, undefined)).rejects.toMatchObject({
      code: 'tokenizer-worker-failed',
      message: expect.stringContaining('none.mjs'),
    });
    await worker.close();
  });

  test('is closed with the dataset: batches that still want something fail', async () => {
    const dataset = await open(file('a.jsonl', lines), { tooLong: 'skip' });
    const running = dataset.batches();
    await running.next();
    await dataset.close();
    const all = async () => {
      for await (const _ of running);
    };
    await expect(all()).rejects.toMatchObject({ code: 'aborted' });
    await dataset.close();
  });

  test('is left at once when the signal fires, while it opens and while it reads', async () => {
    const jsonl = file('a.jsonl', `${lines}\n`.repeat(200));
    for (const how of both) {
      const stop = new AbortController();
      const opening = open(jsonl, { ...how, signal: stop.signal, onProgress: () => stop.abort() });
      await expect(opening).rejects.toMatchObject({ code: 'aborted' });
    }
    const dataset = await open(jsonl, { tooLong: 'skip' });
    const controller = new AbortController();
    const first = dataset.batches({ signal: controller.signal }).next();
    controller.abort();
    await expect(first).rejects.toMatchObject({ code: 'aborted' });
    expect((await dataset.batches().next()).done).toBe(false);
    await dataset.close();
  });

  test('does not keep a process alive', () => {
    const jsonl = file('a.jsonl', '{"text": "hello"}\n');
    const script = `
      import { TokenizerWorker } from ${JSON.stringify(new URL('../../src/data/node/worker-source.ts', import.meta.url).href)};
      import { Tokenizer } from '@quaver/generate/tokenizer';
      const tokenizer = new Tokenizer(${JSON.stringify(tokenizer.files.tokenizer)}, {});
      const files = [{ path: ${JSON.stringify(jsonl)}, format: 'jsonl', passageBytes: 99 }];
      const source = await new TokenizerWorker().open(files, tokenizer.files, undefined);
      console.log((await source.read([0]))[0].tokens.length);`;
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      ['--conditions=@quaver/source', '--input-type=module', '-e', script],
      { cwd: new URL('../..', import.meta.url), encoding: 'utf8', timeout: 60_000 },
    );
    expect({ stdout, stderr, status }).toMatchObject({ stdout: '2\n', status: 0 });
  });
});
