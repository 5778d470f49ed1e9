/** @file Bad input to runs: an error that says what, where, and what to do, and nothing is lost. */
import { copyFile, cp, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { listCheckpoints, lockRunFolder } from '../../src/node.ts';
import { at, configOf, dataFile, failure, records, sums, tinyLlama, train, withParameter } from './tiny-run.ts';

const filesConfig = (files: string | string[], changes: object = {}) =>
  configOf({ data: { files, align: 1 }, ...changes });

test('data that is empty, malformed, too long, or has nothing to predict', async () => {
  const empty = await dataFile('empty.jsonl', '');
  expect(await failure(train('empty', filesConfig(empty)))).toMatchObject({
    code: 'data-empty',
    where: { file: empty },
  });
  const malformed = await dataFile('malformed.jsonl', `${sums(2)}{"messages": [\n`);
  const error = await failure(train('malformed', filesConfig(malformed)));
  expect(error).toMatchObject({ code: 'data-malformed-json', where: { file: malformed, line: 3 } });
  const long = await dataFile(
    'long.jsonl',
    `${sums(1)}${JSON.stringify({ prompt: '1', completion: '2 '.repeat(70) })}\n`,
  );
  const tooLong = await failure(train('long', filesConfig(long)));
  expect(tooLong).toMatchObject({ code: 'data-too-long', where: { file: long, line: 2 } });
  expect(tooLong.hint).toContain('too_long');
  // Cut to a row, the example has its prompt alone, which is not predicted.
  const nothing = await dataFile('nothing.jsonl', `${JSON.stringify({ prompt: '1 '.repeat(70), completion: '2' })}\n`);
  const cut = { data: { files: nothing, align: 1, too_long: 'truncate' } };
  expect(await failure(train('nothing', configOf(cut)))).toMatchObject({ code: 'data-nothing-to-train' });
  expect(await failure(train('context', configOf({ batch: { rows: 1, tokens: 65 } })))).toMatchObject({
    code: 'training-too-long',
    message: expect.stringContaining('65'),
    hint: expect.stringContaining('64'),
  });
  // What was wrong is put right: the folder of the attempt can be used.
  expect((await train('malformed', configOf({ steps: 1 }))).steps).toBe(1);
});

test('a generator of data that is missing, or exports nothing that writes data', async () => {
  const generated = (module: string) => configOf({ data: { generate: { module, count: 4 }, align: 1 } });
  const missing = await failure(train('no generator', generated(at('missing.mjs'))));
  expect(missing).toMatchObject({ code: 'data-generator-invalid', where: { module: at('missing.mjs') } });
  expect(missing.hint).toContain('writeDataset');
  const other = await dataFile('other.mjs', 'export const writeData = () => undefined;');
  expect(await failure(train('other generator', generated(other)))).toMatchObject({
    code: 'data-generator-invalid',
    message: expect.stringContaining('exports no function writeDataset'),
  });
});

test('a model without a tokenizer, or whose tokenizer has more tokens than it', async () => {
  const without = train('no tokenizer', configOf(), { module: tinyLlama({}, false) });
  expect(await failure(without)).toMatchObject({ code: 'tokenizer-missing' });
  const small = train('small', configOf(), { module: tinyLlama({ vocab_size: 64 }) });
  expect(await failure(small)).toMatchObject({
    code: 'training-vocabulary-too-small',
    message: expect.stringContaining('64'),
  });
});

test('weights that are not finite are named before the first step, evaluated or not', async () => {
  const broken = withParameter(tinyLlama(), 'model.layers.1.mlp.up_proj.weight', (values) =>
    values.fill(Number.NaN, 77, 78),
  );
  for (const [name, changes] of Object.entries({
    plain: {},
    evaluated: { evaluate: { every: 1 } },
    fp8: { recipe: 'fp8-block' },
  })) {
    const error = await failure(train(`nan ${name}`, configOf(changes), { module: broken }));
    expect(error).toMatchObject({
      code: 'weights-not-finite',
      where: { tensor: 'model.layers.1.mlp.up_proj.weight', element: 77 },
      message: expect.stringContaining('NaN'),
    });
    await expect(records(`nan ${name}`)).rejects.toThrow(); // no step was counted
  }
});

test.each(['fp8-block', 'fp8-tensor', 'fp8-delayed', 'mxfp8'])(
  'a weight that is infinite is named before the first step, although casts of %s would saturate it',
  async (recipe) => {
    const name = 'model.layers.0.mlp.up_proj.weight';
    const broken = withParameter(tinyLlama(), name, (values) => values.fill(Number.NEGATIVE_INFINITY, 5, 6));
    const error = await failure(train(`infinite ${recipe}`, configOf({ recipe }), { module: broken }));
    expect(error).toMatchObject({ code: 'weights-not-finite', where: { tensor: name, element: 5 } });
    expect(error.message).toContain('-Infinity');
    await expect(records(`infinite ${recipe}`)).rejects.toThrow();
  },
);

test('patterns of frozen parameters that name none, or all', async () => {
  const none = await failure(train('none', configOf({ frozen: ['model.layer.*'] })));
  expect(none).toMatchObject({ code: 'training-frozen-unmatched', where: { pattern: 'model.layer.*' } });
  expect(none.hint).toContain('model.embed_tokens.weight');
  expect(await failure(train('all', configOf({ frozen: ['*'] })))).toMatchObject({ code: 'training-nothing-to-train' });
});

test('a folder that holds another run, somebody’s files, or is a file', async () => {
  await train('taken');
  const before = await readFile(path.join(at('taken'), 'metrics.jsonl'), 'utf8');
  const again = await failure(train('taken', configOf({ steps: 1 })));
  expect(again).toMatchObject({ code: 'run-folder-not-empty', hint: expect.stringContaining('--resume') });
  expect(await readFile(path.join(at('taken'), 'metrics.jsonl'), 'utf8')).toBe(before);
  // A folder with a model has a config.json too: it must not be replaced.
  for (const [name, file] of [
    ['a model', 'config.json'],
    ['reported', 'report.html'],
    ['modelled', 'model.qvr'],
  ] as const) {
    await mkdir(at(name));
    await writeFile(path.join(at(name), file), '{"model_type": "llama"}');
    expect(await failure(train(name))).toMatchObject({
      code: 'run-folder-not-empty',
      where: { file: path.join(at(name), file) },
    });
    expect(await readdir(at(name))).toEqual([file]);
    expect(await readFile(path.join(at(name), file), 'utf8')).toBe('{"model_type": "llama"}');
  }
  await dataFile('a file', 'x');
  expect(await failure(train('a file'))).toMatchObject({ code: 'run-not-a-run' });
  const lock = await lockRunFolder(at('locked'));
  expect(await failure(train('locked'))).toMatchObject({ code: 'run-folder-in-use', where: { pid: process.pid } });
  await lock.release();
});

test('resuming what is no run, or cannot go on', async () => {
  expect(await failure(train('nowhere', configOf(), { resume: true }))).toMatchObject({ code: 'run-not-found' });
  await mkdir(at('bare'));
  expect(await failure(train('bare', configOf(), { resume: true }))).toMatchObject({ code: 'run-not-a-run' });
  expect(await readdir(at('bare'))).toEqual([]);

  const data = await dataFile('changing.jsonl', sums(60));
  const config = filesConfig(data);
  const first = await train('base', config);
  const attempt = (name: string, changed = config, options = {}) => train(name, changed, { resume: true, ...options });
  const copy = (name: string) => cp(at('base'), at(name), { recursive: true });

  await copy('fewer');
  const fewer = await failure(attempt('fewer', { ...config, steps: 3 }));
  expect(fewer).toMatchObject({ code: 'run-steps-behind', where: { steps: 3 } });

  await copy('other model');
  const other = attempt('other model', config, { module: tinyLlama({ intermediate_size: 64 }) });
  expect(await failure(other)).toMatchObject({
    code: 'checkpoint-of-another-model',
    message: expect.stringMatching(/: shape\.model\.layers\.0\.mlp\.\w+\.weight was \[.*\d\] and is \[.*; and 3 more$/),
  });
  const optimizer = { ...config, optimizer: { name: 'sgd', momentum: 0, nesterov: false, weight_decay: 0 } as const };
  const sgd = await failure(attempt('other model', optimizer));
  expect(sgd).toMatchObject({ code: 'checkpoint-of-another-model', hint: expect.stringContaining('started with') });
  expect(sgd.message).toContain('optimizer.name was "adamw" and is "sgd"');
  const recipe = await failure(attempt('other model', { ...config, recipe: 'f32' }));
  expect(recipe.message).toMatch(/step-00000004: recipe was "bf16" and is "f32"$/);

  await copy('other data');
  await writeFile(data, sums(61));
  expect(await failure(attempt('other data'))).toMatchObject({ code: 'data-changed' });
  await writeFile(data, sums(60));
  const rows = { ...config, batch: { ...config.batch, rows: 1 } };
  expect(await failure(attempt('other data', rows))).toMatchObject({
    code: 'data-settings-changed',
    where: { setting: 'batchRows' },
  });
  // All of this touched nothing.
  expect(await records('other data')).toEqual(await records('base'));
  expect((await attempt('other data')).parameters_sha256).toBe(first.parameters_sha256);
});

test('frozen weights that are not what they were', async () => {
  const config = configOf({ frozen: ['model.norm.weight'] });
  await train('norm', config);
  const changed = withParameter(tinyLlama(), 'model.norm.weight', (values) => values.fill(0.5, 0, 1));
  const error = await failure(train('norm', { ...config, steps: 5 }, { resume: true, module: changed }));
  expect(error).toMatchObject({ code: 'checkpoint-of-another-model', where: { tensor: 'model.norm.weight' } });
});

test('a damaged checkpoint is not used, and an older one goes on when the damaged one is moved away', async () => {
  const config = configOf({ steps: 6, checkpoint: { every: 2, keep_last: 3 } });
  const expected = await train('damaged', config);
  const folders = (await listCheckpoints(at('damaged'))).map(({ folder }) => folder);
  const last = folders.at(-1)!;
  const attempt = () => train('damaged', config, { resume: true });
  const hint = expect.stringMatching(/Step 4 is complete\. Move .*step-00000006 away/);
  // A bit that flipped: only the hash tells.
  const file = path.join(last, 'optimizer.safetensors');
  await copyFile(file, at('intact'));
  const bytes = await readFile(file);
  bytes[bytes.length - 9]! ^= 1;
  await writeFile(file, bytes);
  expect(await failure(attempt())).toMatchObject({ code: 'checkpoint-corrupt', hint, where: { file } });
  await writeFile(file, bytes.subarray(0, 1000));
  expect(await failure(attempt())).toMatchObject({ code: 'checkpoint-corrupt', hint });
  await rename(file, at('away'));
  expect(await failure(attempt())).toMatchObject({ code: 'checkpoint-incomplete', hint });
  await rename(last, at('damaged step'));
  expect((await attempt()).parameters_sha256).toBe(expected.parameters_sha256);
  expect((await readFile(file)).equals(await readFile(at('intact')))).toBe(true);
});
