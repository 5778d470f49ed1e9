/** @file A run that is killed, or stopped, and goes on, has the bits of one that never stopped. */
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { expectKilledRunSame, expectSame, type Moment, straight, type Trained } from './killed-runs.ts';
import { quaver, quaverJson, removeFolder, start, temporaryFolder } from './run-quaver.ts';
import { checkpointNames, readRecords, tinyTraining } from './train-runs.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);

afterAll(() => removeFolder(folder));

const somewhere = (from: number, to: number): Moment => ({ step: from + Math.floor(Math.random() * (to - from)) });

// Packed, shuffled rows, two micro-batches a step, evaluations that early stopping counts.
it.concurrent.each([
  ['bf16', [somewhere(5, 20)]],
  ['fp8-block', ['while a checkpoint is written', somewhere(8, 20)]],
  ['fp8-delayed', [somewhere(5, 10), 'while a checkpoint is written']],
] as [string, Moment[]][])('%s, killed with SIGKILL and resumed', async (recipe, moments) => {
  const [first] = await expectKilledRunSame(tinyTraining(at(recipe), { recipe }), moments);
  // It was killed in the middle: otherwise nothing was shown.
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThan(24);
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
