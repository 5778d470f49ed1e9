import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { CheckpointStore, lockRunFolder } from '../../src/node.ts';
import { parametersOf, stateOf } from './step-tensors.ts';

const child = fileURLToPath(new URL('save-in-a-loop.ts', import.meta.url));

/** Lets a process save, kills it some milliseconds after a save, and resolves to the last step that it said was safe. */
function saveAndKill(run: string, milliseconds: number): Promise<number> {
  const saver = spawn(process.execPath, ['--conditions=@quaver/source', child, run], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  saver.stderr.on('data', (text) => (errors += text));
  saver.stdout.on('data', (text) => {
    if (output === '') setTimeout(() => saver.kill('SIGKILL'), milliseconds);
    output += text;
  });
  return new Promise((resolve, reject) => {
    saver.on('close', (status, signal) => {
      if (signal === 'SIGKILL') resolve(Number(output.trim().split('\n').at(-1)));
      else reject(new Error(`ended with ${status}: ${errors}`));
    });
  });
}

test('whenever a process that saves is killed, what it saved last opens with the right bits', async () => {
  const run = await mkdtemp(path.join(tmpdir(), 'quaver-killed-'));
  for (let round = 0; round < 12; round++) {
    const safe = await saveAndKill(run, Math.random() * 80);
    const lock = await lockRunFolder(run); // takes over the lock of the dead process
    const store = await CheckpointStore.open(lock, { module: 'loop' });
    const latest = await store.latest();
    // A save may have been completed just before the process could say so.
    expect([safe, safe + 1]).toContain(latest?.step);
    const step = latest!.step;
    const opened = await store.open(step);
    expect(opened.json).toEqual({ step, seed: `${step}` });
    for (const [tensors, found] of [
      [parametersOf(step), opened.parameters],
      [stateOf(step), opened.state],
    ] as const) {
      expect([...found.keys()].sort()).toEqual(tensors.map(({ name }) => name).sort());
      for (const { name, read } of tensors) {
        expect(Buffer.compare(await found.get(name)!.read(), await read())).toBe(0);
      }
    }
    await opened.close();
    expect((await readdir(path.join(run, 'checkpoints'))).filter((name) => !/^step-\d{8}$/.test(name))).toEqual([]);
    await lock.release();
  }
  await rm(run, { recursive: true });
});
