import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { CheckpointStore, lockRunFolder, parametersSha256 } from '../../src/node.ts';

test('a file over 4 GiB is written, hashed and read with one tensor of it in memory', async () => {
  const run = await mkdtemp(path.join(tmpdir(), 'quaver-large-'));
  const bytes = 256 << 20;
  const parameters = Array.from({ length: 17 }, (_, i) => ({
    name: `layers.${i}`,
    dtype: 'u8' as const,
    shape: [bytes],
    read: async () => new Uint8Array(bytes).fill(i),
  }));
  const lock = await lockRunFolder(run);
  const store = await CheckpointStore.open(lock, { module: 'm' });
  await store.save({ step: 1, parameters, state: [], json: null });
  const opened = await store.open(1);
  const last = await opened.parameters.get('layers.16')!.read();
  expect(last.byteLength).toBe(bytes);
  expect([last[0], last[bytes - 1]]).toEqual([16, 16]);
  expect(await parametersSha256(opened.parameters.values())).toBe(await parametersSha256(parameters));
  expect(process.resourceUsage().maxRSS).toBeLessThan(2 << 20); // kB: less than half of the file
  await opened.close();
  await lock.release();
  await rm(run, { recursive: true });
});
