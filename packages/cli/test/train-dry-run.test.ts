/** @file `quaver train --dry-run`: a prediction, and no trace of a run. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { TrainingPlan } from '@quaver/sdk/node';
import { afterAll, expect, it } from 'vitest';
import { quaver, quaverJson, removeFolder, temporaryFolder } from './run-quaver.ts';
import { tinyTraining } from './train-runs.ts';

const folder = temporaryFolder();
afterAll(() => removeFolder(folder));
const run = path.join(folder, 'run');

it('adds up, has every policy of rematerialization, and writes nothing', async () => {
  const config = tinyTraining(folder, { remat: 'cheap' });
  const args = ['train', '--config', config, '--out', run, '--dry-run'];
  const { items, total, activations } = await quaverJson<TrainingPlan>(args);
  expect(items.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(total);
  expect(items.find(({ what }) => what === 'activations and workspace')?.bytes).toBe(activations.cheap);
  expect(activations.layers).toBeLessThan(activations.cheap);
  expect(activations.cheap).toBeLessThan(activations.none);
  const { code, stdout } = await quaver(args);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^peak of resident memory +\d/m);
  expect(stdout).toMatch(/^cheap \(this run\) +[\d.]+ [kM]B +\d+ %$/m);
  expect(existsSync(run)).toBe(false);
});

it.each<[string, readonly string[], string]>([
  ['data that is not there', ['--data', 'missing.jsonl'], 'file-not-found'],
  ['rows longer than the context', ['--length', '4096'], 'training-too-long'],
  ['a recipe that does not exist', ['--recipe', 'fp7'], 'recipe-unknown'],
])('refuses what the run would refuse: %s', async (_, flags, expected) => {
  const config = tinyTraining(folder);
  const { code, stdout } = await quaver(['train', '--config', config, '--out', run, '--dry-run', '--json', ...flags]);
  expect(code).not.toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: expected } });
  expect(existsSync(run)).toBe(false);
});
