/** @file Whole runs: what they write, and that every option of a run does what it says. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { listCheckpoints, readRunConfig } from '../../src/node.ts';
import { stochasticRecipe } from './stochastic-recipe.ts';
import {
  at,
  configOf,
  dataFile,
  failure,
  records,
  sums,
  tinyLlama,
  train,
  weightsOf,
  withParameter,
} from './tiny-run.ts';

test.each(['f32', 'bf16', 'fp8-block'])('a run in %s: the loss falls, and its files tell of it', async (recipe) => {
  const config = configOf({ recipe, steps: 12, evaluate: { every: 4 }, checkpoint: { every: 4, keep_last: 2 } });
  const result = await train(recipe, config);
  expect(result).toMatchObject({ steps: 12, skipped_steps: 0, ended: 'steps' });
  // Untrained, every token is about as likely as any other.
  expect(Math.abs(result.val_loss_before! - Math.log(384))).toBeLessThan(0.1);
  expect(result.val_loss!).toBeLessThan(3);

  const steps = await records(recipe);
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  expect(steps.filter(({ val_loss }) => val_loss !== undefined).map(({ step }) => step)).toEqual([4, 8, 12]);
  expect(steps.at(-1)).toMatchObject({ loss: result.loss, val_loss: result.val_loss });
  expect(steps.reduce((sum, { tokens }) => sum + tokens!, 0)).toBe(result.tokens);

  // The best checkpoint is the last here; without keep_best the two latest stay anyway.
  expect((await listCheckpoints(at(recipe))).map(({ step }) => step)).toEqual([8, 12]);
  const hash = createHash('sha256');
  for (const [, values] of [...(await weightsOf(recipe, 12))].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(values);
  expect(result.parameters_sha256).toBe(hash.digest('hex'));

  expect(await readRunConfig(at(recipe))).toEqual(config);
  const report = await readFile(path.join(at(recipe), 'report.html'), 'utf8');
  expect(report).toContain('<svg');
  expect(report).not.toMatch(/(src|href)="http/);
  const left = (await readdir(at(recipe))).filter((name) => !name.startsWith('events.out.tfevents.'));
  expect(left.sort()).toEqual(['checkpoints', 'config.json', 'metrics.jsonl', 'quantization.jsonl', 'report.html']);
});

test('two micro-batches of a row are one of two rows: the mean is over all targets of the step', async () => {
  const once = await train('rows', configOf({ recipe: 'f32', steps: 2, batch: { rows: 2, tokens: 64 } }));
  const twice = await train(
    'micro',
    configOf({ recipe: 'f32', steps: 2, batch: { rows: 1, tokens: 64, accumulate: 2 } }),
  );
  expect(twice.tokens).toBe(once.tokens);
  const [a, b] = [await records('rows'), await records('micro')];
  for (const i of [0, 1]) {
    expect(b[i]!.loss! / a[i]!.loss!).toBeCloseTo(1, 5);
    expect(b[i]!.grad_norm! / a[i]!.grad_norm!).toBeCloseTo(1, 4);
  }
  const single = await train('single', configOf({ recipe: 'f32', steps: 2, batch: { rows: 1, tokens: 64 } }));
  expect(single.tokens).toBeLessThan(once.tokens);
});

test('frozen parameters keep their bits, others do not', async () => {
  await train('frozen', configOf({ frozen: ['model.embed_tokens.weight', 'model.layers.0.*'] }));
  const after = await weightsOf('frozen', 4);
  const changed: string[] = [];
  for (const { name, data, trainable } of tinyLlama().parameters) {
    if (!trainable) continue;
    const before = new Float32Array((await data!.read()).slice().buffer);
    if (before.some((value, i) => !Object.is(value, after.get(name)![i]))) changed.push(name);
  }
  expect(changed.sort()).toEqual([...after.keys()].filter((name) => /layers\.1\.|model\.norm/.test(name)).sort());
  expect(changed.length).toBe(10);
});

test('weights decay but for those that shall not', async () => {
  // Without a gradient to speak of, SGD moves by the decay alone: p − rate · decay · p.
  const optimizer = { name: 'sgd', weight_decay: 0.5 };
  const schedule = { decay: 'constant', peak: 0.25 };
  const shared = { recipe: 'f32', steps: 1, optimizer, schedule, max_grad_norm: 1e-20 };
  await train('decay', configOf({ ...shared, no_weight_decay: ['*norm.weight', '*.q_proj.weight'] }));
  const after = await weightsOf('decay', 1);
  for (const { name, data, trainable } of tinyLlama().parameters) {
    if (!trainable) continue;
    const before = new Float32Array((await data!.read()).slice().buffer);
    const factor = /norm\.weight|q_proj/.test(name) ? 1 : 1 - 0.25 * 0.5;
    const expected = before.map((value) => Math.fround(value * factor));
    expect(
      after.get(name)!.every((value, i) => Math.abs(value - expected[i]!) <= 1e-7 * Math.abs(expected[i]!) + 1e-19),
      name,
    ).toBe(true);
  }
});

test('epochs: the run ends with the data, and a last step has the micro-batches that are left', async () => {
  const files = await dataFile('epochs.jsonl', sums(30));
  const epochs = (count: number, accumulate: number, changes = {}) =>
    configOf({
      ...{ data: { files, validation: { fraction: 0.1 }, align: 1 }, steps: 1000, epochs: count },
      ...{ batch: { rows: 1, tokens: 64, accumulate }, evaluate: { every: 1000 }, recipe: 'fp8-block' },
      ...changes,
    });
  const single = await train('single batches', epochs(1, 1));
  expect(single.ended).toBe('epochs');
  const pairs = await train('pairs', epochs(1, 2));
  expect(single.steps % 2).toBe(1);
  expect(pairs).toMatchObject({ ended: 'epochs', steps: (single.steps + 1) / 2, tokens: single.tokens });
  const twice = await train('twice', epochs(2, 2));
  expect(twice.tokens).toBe(2 * single.tokens);
  // The last step is evaluated and has a checkpoint.
  const last = (await records('twice')).at(-1)!;
  expect([last.step, last.val_loss]).toEqual([twice.steps, twice.val_loss]);
  expect(twice.val_loss).toBeLessThan(twice.val_loss_before!);
  expect((await listCheckpoints(at('twice'))).at(-1)).toMatchObject({ step: twice.steps, metric: twice.val_loss });
  // The steps may come first.
  expect(await train('steps first', epochs(2, 2, { steps: 2 }))).toMatchObject({ steps: 2, ended: 'steps' });
  // Stopped in the second pass and resumed, it has the same end; resumed again, nothing is left to do.
  const controller = new AbortController();
  const stopped = train('resumed', epochs(2, 2), {
    signal: controller.signal,
    onEvent: (event) => {
      if (event.phase === 'step' && event.record.epoch === 1) controller.abort();
    },
  });
  await expect(stopped).rejects.toMatchObject({ code: 'aborted' });
  for (let attempt = 0; attempt < 2; attempt++) {
    const { tokens_per_s: _, ...found } = await train('resumed', epochs(2, 2), { resume: true });
    const { tokens_per_s: __, ...expected } = twice;
    expect(found).toEqual(expected);
  }
});

test('before the first step, the validation loss of delayed scales is that of filled histories', async () => {
  // Without a history, activations of this size would be cut off at the largest FP8 number.
  const module = withParameter(tinyLlama(), 'model.layers.0.post_attention_layernorm.weight', (values) =>
    values.fill(3000),
  );
  const before = async (recipe: string) => {
    const config = configOf({ recipe, steps: 1, evaluate: { every: 1 } });
    return (await train(`large ${recipe}`, config, { module })).val_loss_before!;
  };
  const expected = await before('bf16');
  expect(Math.abs((await before('fp8-delayed')) / expected - 1)).toBeLessThan(2e-3);
});

test('the seed is that of stochastic rounding, too: the same seed gives the same bits', async () => {
  // One row holds all of the data: its order does not matter, and only the rounding differs.
  const files = await dataFile('one.jsonl', sums(1));
  const seeded = (name: string, seed: number, recipe: unknown = stochasticRecipe()) =>
    train(name, configOf({ data: { files, align: 1 }, recipe, seed, steps: 2, quantization_every: 0 }));
  const digests = [await seeded('seed 0', 0), await seeded('seed 1', 1), await seeded('seed 0 again', 0)].map(
    ({ parameters_sha256: digest }) => digest,
  );
  expect(digests[2]).toBe(digests[0]);
  expect(digests[1]).not.toBe(digests[0]);
  const plain = await seeded('seed 0 plain', 0, 'fp8-block');
  expect((await seeded('seed 1 plain', 1, 'fp8-block')).parameters_sha256).toBe(plain.parameters_sha256);
});

test('early stop: after so many evaluations without a gain', async () => {
  // Nothing can be gained at a rate of 0: the first evaluation is the best one, two more are patience.
  const config = configOf({
    schedule: { decay: 'constant', peak: 0 },
    steps: 50,
    evaluate: { every: 2 },
    early_stop: { patience: 2 },
    checkpoint: { every: 5 },
  });
  const result = await train('early', config);
  expect(result).toMatchObject({ steps: 6, ended: 'early-stop' });
  expect(result.best_val_loss).toBe(result.val_loss);
  expect((await listCheckpoints(at('early'))).map(({ step }) => step)).toEqual([5, 6]);
  // It has ended: to resume it trains no step more.
  const again = await train('early', config, { resume: true });
  expect(again).toMatchObject({ steps: 6, ended: 'early-stop', parameters_sha256: result.parameters_sha256 });
});

test('the best checkpoints are chosen among those whose own step was evaluated', async () => {
  const config = configOf({
    steps: 10,
    evaluate: { every: 3 },
    checkpoint: { every: 2, keep_last: 1, keep_best: 3 },
  });
  await train('best', config);
  const losses = new Map((await records('best')).map(({ step, val_loss }) => [step, val_loss]));
  expect([...losses].filter(([, loss]) => loss !== undefined).map(([step]) => step)).toEqual([3, 6, 9, 10]);
  // Steps 4 and 8 have checkpoints too, but the losses at 3 and 6 are not theirs.
  const kept = (await listCheckpoints(at('best'))).map(({ step, metric }) => [step, metric]);
  expect(kept).toEqual([6, 10].map((step) => [step, losses.get(step)]));
});

test('a rate without reason ends the run after max_skipped steps, and the checkpoint before is left', async () => {
  const config = configOf({
    schedule: { decay: 'constant', peak: 1e30 },
    optimizer: { name: 'sgd' },
    max_skipped: 3,
    steps: 50,
    checkpoint: { every: 1, keep_last: 10 },
  });
  const error = await failure(train('diverged', config));
  expect(error).toMatchObject({ code: 'training-diverged', where: { step: 4 } });
  expect(error.message).toContain('3 steps in a row');
  expect(error.hint).toContain('schedule.peak');
  const steps = await records('diverged');
  expect(steps.map(({ skipped }) => skipped ?? 0)).toEqual([0, 1, 1, 1]);
  expect((await listCheckpoints(at('diverged'))).map(({ step }) => step)).toEqual([1, 2, 3]);
  // Skipped steps changed nothing.
  expect(await weightsOf('diverged', 3)).toEqual(await weightsOf('diverged', 1));
  // The count goes on where it was: one more step is enough.
  const again = await failure(train('diverged', config, { resume: true }));
  expect(again).toMatchObject({ code: 'training-diverged', where: { step: 4 } });
});

test.each([
  ['fp8-block', 'fp8-block'],
  ['fp8-delayed', 'fp8-delayed'],
  ['stochastic rounding', stochasticRecipe()],
])(
  '%s: a signal stops after the step, with a checkpoint; resumed, the run has the bits of one that was not stopped',
  async (name, recipe) => {
    const config = configOf({
      recipe,
      seed: 3,
      steps: 9,
      batch: { rows: 1, tokens: 64, accumulate: 2 },
      evaluate: { every: 2 },
    });
    const [whole, part, atOnce] = ['whole', 'stopped', 'at once'].map((run) => `${name} ${run}`) as [
      string,
      string,
      string,
    ];
    const expected = await train(whole, config);
    const controller = new AbortController();
    const reason = new Error('enough');
    const stopped = train(part, config, {
      signal: controller.signal,
      onEvent: (event) => {
        if (event.phase === 'step' && event.record.step === 5) controller.abort(reason);
      },
    });
    const error = await stopped.catch((error) => error);
    expect(error).toMatchObject({ code: 'aborted', cause: reason });
    expect((await listCheckpoints(at(part))).at(-1)?.step).toBe(5);
    const found = await train(part, config, { resume: true });
    expect(found.parameters_sha256).toBe(expected.parameters_sha256);
    const timeless = async (run: string) =>
      (await records(run)).map(({ seconds: _, tokens_per_s: __, ...record }) => record);
    expect(await timeless(part)).toEqual(await timeless(whole));
    // Stopped before anything was done, there is no checkpoint, and it can begin again.
    await expect(train(atOnce, config, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
    expect((await train(atOnce, config, { resume: true })).parameters_sha256).toBe(expected.parameters_sha256);
  },
);
