import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockRunFolder, openRunWriter, type RunLock, type RunWriterOptions, readRun } from '../../src/node.ts';
import { quantizationRecord, stepRecord } from './step-records.ts';

let parent: string;
let lock: RunLock;
const fileIn = (name: string) => path.join(lock.folder, name);
const metrics = () => readFile(fileIn('metrics.jsonl'), 'utf8');

beforeEach(async () => {
  parent = await mkdtemp(path.join(tmpdir(), 'quaver-metrics-'));
  lock = await lockRunFolder(path.join(parent, 'a'));
});
afterEach(async () => {
  await lock.release();
  await rm(parent, { recursive: true });
});

async function write(first: number, last: number, options: RunWriterOptions = {}): Promise<void> {
  const writer = await openRunWriter(lock, options);
  for (let step = first; step <= last; step++) {
    await writer.step(stepRecord(step));
    await writer.quantization([quantizationRecord(step, 'a'), quantizationRecord(step, 'b')]);
  }
  await writer.flush();
  await writer.close();
}

test('records are there as soon as the call resolves, and are read back', async () => {
  const writer = await openRunWriter(lock);
  const record = stepRecord(1, { loss: Number.NaN, val_loss: 3, skipped: 1 });
  await writer.step(record);
  expect(await readRun(lock.folder)).toEqual({ name: 'a', steps: [record], quantization: [] });
  await writer.close();
});

test('a run that is resumed, from whatever state of its files, ends with the files of one that was not stopped', async () => {
  await write(1, 10);
  const whole = [await metrics(), await readFile(fileIn('quantization.jsonl'), 'utf8')];
  const size = whole[0]!.length;
  const endOfStep4 = whole[0]!.indexOf('{"step":5');
  // From the end of the checkpoint's last record, with and without its line feed, to the end of the file.
  for (const cut of [endOfStep4 - 1, endOfStep4, endOfStep4 + 1, endOfStep4 + 40, size - 1, size]) {
    await truncate(fileIn('metrics.jsonl'), cut);
    await write(5, 10, { resumeAt: 4 });
    expect([await metrics(), await readFile(fileIn('quantization.jsonl'), 'utf8')]).toEqual(whole);
  }
  await write(1, 10, { resumeAt: 0 });
  expect(await metrics()).toBe(whole[0]);
});

test('a new run does not write over an old one', async () => {
  await write(1, 2);
  await expect(openRunWriter(lock)).rejects.toMatchObject({ code: 'run-folder-not-empty' });
  expect((await readRun(lock.folder)).steps).toHaveLength(2);
});

test('a torn last line is left out; damage before it names file and line', async () => {
  await write(1, 3);
  const text = await metrics();
  await writeFile(fileIn('metrics.jsonl'), text.slice(0, -10));
  expect((await readRun(lock.folder)).steps.map(({ step }) => step)).toEqual([1, 2]);
  const damaged = ['{"step":2}', '{"step":2,', 'null', '', '{"step":-1}', '\xff'];
  for (const line of damaged) {
    const lines = text.split('\n');
    lines[1] = line;
    await writeFile(fileIn('metrics.jsonl'), lines.join('\n'), 'latin1');
    const file = fileIn('metrics.jsonl');
    const error = await readRun(lock.folder).catch((error) => error);
    expect(error).toMatchObject({ code: 'metrics-corrupt', where: { file, line: 2 } });
    await expect(openRunWriter(lock, { resumeAt: 3 })).rejects.toMatchObject({ code: 'metrics-corrupt' });
    expect((await stat(file)).size).toBe(lines.join('\n').length); // nothing was cut off
  }
});

test('folders that are no runs are named', async () => {
  const code = (folder: string) => readRun(folder).catch((error) => [error.code, typeof error.hint]);
  expect(await code(path.join(parent, 'missing'))).toEqual(['run-not-found', 'string']);
  expect(await code(path.join(parent, 'a', 'run.lock', 'x'))).toEqual(['run-not-found', 'string']);
  expect(await code(path.join(parent, 'a', 'run.lock'))).toEqual(['run-not-a-run', 'string']);
  expect(await code(path.join(parent, 'a'))).toEqual(['run-not-a-run', 'string']);
  await mkdir(path.join(parent, 'b'));
  await appendFile(path.join(parent, 'b', 'metrics.jsonl'), '{"st');
  expect(await code(path.join(parent, 'b'))).toEqual(['run-empty', 'string']);
});

test('every start has an event file of its own, named in order; none where none is wanted', async () => {
  await write(1, 2, { tensorboard: false });
  const events = async () => (await readdir(lock.folder)).filter((name) => name.includes('tfevents')).sort();
  expect(await events()).toEqual([]);
  for (let start = 0; start < 3; start++) await write(3, 3, { resumeAt: 2 });
  const names = await events();
  expect(names.map((name) => name.slice(-12))).toEqual(['.0000.quaver', '.0001.quaver', '.0002.quaver']);
});
