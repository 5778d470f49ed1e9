/** @file Runs that are killed many times, with every recipe that keeps something of its own from step to step. */
import path from 'node:path';
import { builtInRecipes } from '@quaver/compiler';
import { afterAll, expect, it } from 'vitest';
import { expectKilledRunSame, type Moment } from './killed-runs.ts';
import { removeFolder, temporaryFolder } from './run-quaver.ts';
import { tinyTraining } from './train-runs.ts';

const folder = temporaryFolder();
afterAll(() => removeFolder(folder));

const steps = 120;
const kills = 12;

/** `fp8-tensor` with gradients that are rounded at random: the draws must go on where they were. */
function stochastic(): object {
  const recipe = builtInRecipes.get('fp8-tensor')!;
  const { linear } = recipe.train;
  if (typeof linear === 'string') throw new Error('fp8-tensor is not FP8');
  const rounded = { ...linear, grad_output: { ...linear.grad_output, rounding: 'stochastic' } };
  return { ...recipe, name: 'stochastic', train: { ...recipe.train, linear: rounded } };
}

it.each([
  ['bf16', 'bf16', 'adamw'],
  ['fp8-block', 'fp8-block', 'muon'],
  ['fp8-delayed', 'fp8-delayed', 'adamw'],
  ['stochastic rounding', stochastic(), 'adafactor'],
])('%s', { timeout: 900_000 }, async (name, recipe, optimizer) => {
  const config = tinyTraining(path.join(folder, name), {
    ...{ recipe, steps },
    optimizer: { name: optimizer },
    remat: 'layers',
    evaluate: { every: 7, batches: 2 },
    checkpoint: { every: 3, keep_last: 3, keep_best: 2 },
  });
  // Ever later, a third of them in the middle of a checkpoint.
  const moments = Array.from({ length: kills }, (_, i): Moment => {
    if (i % 3 === 2) return 'while a checkpoint is written';
    return { step: Math.max(1, Math.floor((steps * (i + Math.random())) / kills)) };
  });
  const recorded = await expectKilledRunSame(config, moments);
  expect(new Set(recorded).size).toBeGreaterThan(kills / 2);
});
