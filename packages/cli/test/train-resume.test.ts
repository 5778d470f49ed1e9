/** @file A run that is killed, or stopped, and goes on, has the bits of one that never stopped. */
import path from 'node:path';
import { trainModel } from '@quaver/sdk/node';
import { parseTrainConfig } from '@quaver/train';
import { afterAll, expect, it } from 'vitest';
import { readConfigFile } from '../src/train-config.ts';
import { quaver, quaverJson, removeFolder, start, temporaryFolder } from './run-quaver.ts';
import {
  checkpointNames,
  fileDigests,
  killAt,
  type Moment,
  readRecords,
  timelessMetrics,
  tinyTraining,
} from './train-runs.ts';

interface Trained {
  readonly parameters_sha256: string;
  readonly val_loss: number | null;
  readonly steps: number;
}

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);

afterAll(() => removeFolder(folder));

/** What the command makes of the configuration when nothing stops it, made in this process. */
async function straight(config: string, run: string): Promise<Trained> {
  return trainModel({ config: parseTrainConfig(await readConfigFile(config)), folder: run, threads: 1 });
}

function expectSame(run: string, found: Trained, reference: string, expected: Trained): void {
  expect(found).toMatchObject({
    parameters_sha256: expected.parameters_sha256,
    val_loss: expected.val_loss,
    steps: expected.steps,
  });
  expect(timelessMetrics(run)).toEqual(timelessMetrics(reference));
  expect(fileDigests(run)).toEqual(fileDigests(reference));
}

const somewhere = (from: number, to: number): Moment => ({ step: from + Math.floor(Math.random() * (to - from)) });

it.concurrent.each([
  ['bf16', [somewhere(1, 20)]],
  ['fp8-block', ['while a checkpoint is written', somewhere(8, 20)]],
  ['fp8-delayed', [somewhere(1, 10), 'while a checkpoint is written']],
] as [string, Moment[]][])('%s, killed with SIGKILL and resumed', async (recipe, moments) => {
  const config = tinyTraining(at(recipe), { recipe });
  const [run, reference] = [path.join(at(recipe), 'run'), path.join(at(recipe), 'straight')];
  const expected = await straight(config, reference);
  const before: number[] = [];
  for (const [index, moment] of moments.entries()) {
    const begin = index === 0 ? ['--config', config, '--out', run] : ['--resume', run];
    await killAt(['train', ...begin, '--threads', '1', '-q'], run, moment);
    before.push(readRecords(run).length);
  }
  const found = await quaverJson<Trained>(['train', '--resume', run, '--threads', '1']);
  expectSame(run, found, reference, expected);
  // It was killed in the middle: otherwise nothing was shown.
  expect(before[0]).toBeGreaterThan(0);
  expect(before[0]).toBeLessThan(24);
});

it('Ctrl-C ends the step, saves a checkpoint and says how to go on', async () => {
  const config = tinyTraining(at('stopped'), { recipe: 'bf16' });
  const [run, reference] = [path.join(at('stopped'), 'run'), path.join(at('stopped'), 'straight')];
  const expected = await straight(config, reference);
  const { child, finished } = start(['train', '--config', config, '--out', run, '--threads', '1']);
  while (child.exitCode === null && readRecords(run).length < 6) await new Promise((resolve) => setTimeout(resolve, 1));
  child.kill('SIGINT');
  const { code, stdout, stderr } = await finished;
  expect([code, stdout]).toEqual([130, '']);
  const steps = readRecords(run).length;
  expect(steps).toBeLessThan(24);
  expect(checkpointNames(run).at(-1)).toBe(`step-${String(steps).padStart(8, '0')}`);
  expect(stderr).toContain(`Stopped after step ${steps}; to go on: quaver train --resume ${run}`);
  const found = await quaverJson<Trained>(['train', '--resume', run, '--threads', '1']);
  expectSame(run, found, reference, expected);
  // A run that has ended is not trained further: a process that died while it wrote the model can be resumed too.
  const again = await quaver(['train', '--resume', run, '--threads', '1', '--json']);
  expect(JSON.parse(again.stdout)).toMatchObject({ steps: 24, parameters_sha256: expected.parameters_sha256 });
  expectSame(run, found, reference, expected);
});
