import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { QuaverError } from '@quaver/numerics';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockRunFolder } from '../../src/node.ts';

let parent: string;
let run: string;
beforeEach(async () => {
  parent = await mkdtemp(path.join(tmpdir(), 'quaver-lock-'));
  run = path.join(parent, 'runs', 'a');
});
afterEach(async () => {
  await rm(parent, { recursive: true });
});

test('a folder is one training’s until it gives it free', async () => {
  const lock = await lockRunFolder(run);
  const error = await lockRunFolder(run).catch((error) => error);
  expect(error).toBeInstanceOf(QuaverError);
  expect(error).toMatchObject({ code: 'run-folder-in-use', where: { pid: process.pid } });
  expect(error.hint).toContain('run.lock');
  await lock.release();
  await lock.release();
  expect(await readdir(run)).toEqual([]);
  await (await lockRunFolder(run)).release();
});

test('of many that want a folder at once, one gets it', async () => {
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => lockRunFolder(run)));
  expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect(await readdir(run)).toEqual(['run.lock']);
});

test('the lock of another living process holds, that of a dead one is taken over', async () => {
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(other, 'spawn');
  const lock = await lockRunFolder(run);
  const file = path.join(run, 'run.lock');
  const owner = JSON.parse(await readFile(file, 'utf8'));
  // Where the system says when a process began, the lock of another start under the same number is stale.
  const stat = await readFile(`/proc/${other.pid}/stat`, 'utf8').catch(() => '');
  const began = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  await writeFile(file, JSON.stringify({ ...owner, pid: other.pid, began }));
  await lock.release();
  expect(JSON.parse(await readFile(file, 'utf8')).pid).toBe(other.pid); // not ours any more: it stays
  await expect(lockRunFolder(run)).rejects.toMatchObject({ code: 'run-folder-in-use', where: { pid: other.pid } });
  other.kill('SIGKILL');
  await once(other, 'close');
  await (await lockRunFolder(run)).release();
});

test('the lock of another start of the machine is stale; that of another machine or program is not ours to judge', async () => {
  await (await lockRunFolder(run)).release();
  const file = path.join(run, 'run.lock');
  const self = { pid: process.pid, host: hostname(), boot: 'another', began: '1' };
  await writeFile(file, JSON.stringify(self));
  await (await lockRunFolder(run)).release();
  for (const content of [JSON.stringify({ ...self, host: 'elsewhere' }), 'not a lock']) {
    await writeFile(file, content);
    await expect(lockRunFolder(run)).rejects.toMatchObject({ code: 'run-folder-in-use' });
    expect(await readFile(file, 'utf8')).toBe(content);
  }
  expect(await readdir(run)).toEqual(['run.lock']);
});
