/** @file The native engine in a worker: it must end with its environment, also while a program runs. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { findAddon } from '../src/engine/load-addon.ts';

const found = findAddon();
if (!found.addon) throw new Error(`the native engine is missing: ${found.reason}`);

test('terminating a worker in which a program runs leaves the process in order', () => {
  const file = fileURLToPath(new URL('./environment-worker.mjs', import.meta.url));
  const child = spawnSync(process.execPath, [file], {
    encoding: 'utf8',
    env: { ...process.env, ADDON: found.path },
    timeout: 60_000,
  });
  expect([child.stdout.trim(), child.stderr, child.status, child.signal]).toEqual(['all ended', '', 0, null]);
});
