/** @file Checkpoints of a run as models: the weights of their step in the graph that the run started from. */
import { appendFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { parseTrainConfig } from '@quaver/train';
import { openTrainingCheckpoint } from '@quaver/train/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  exportHfBf16,
  importModelFile,
  openCheckpointModel,
  saveModule,
  trainModel,
  type WhichCheckpoint,
} from '../src/node.ts';
import { temporaryFolder, tinyCheckpoint } from './tiny-checkpoint.ts';

const folder = temporaryFolder();
const at = (...names: string[]) => path.join(folder, ...names);
const run = at('run');
/** The step with the lowest validation loss, and the last one. */
let best: number;
const last = 6;

beforeAll(async () => {
  writeFileSync(at('data.txt'), 'abc cab bca '.repeat(200));
  const config = parseTrainConfig({
    model: tinyCheckpoint(folder),
    data: { files: at('data.txt'), separator: ' ', validation: { fraction: 0.1 }, align: 1 },
    steps: last,
    batch: { rows: 2, tokens: 16 },
    // Each step is too long: the loss rises.
    schedule: { decay: 'constant', peak: 3 },
    optimizer: { name: 'sgd' },
    evaluate: { every: 2 },
    checkpoint: { every: 2, keep_last: 3 },
  });
  await trainModel({ config, folder: run, threads: 1 });
  const records = readFileSync(at('run/metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const evaluated = records.filter(({ val_loss: loss }) => loss !== undefined);
  best = evaluated.reduce((a, b) => (b.val_loss < a.val_loss ? b : a)).step;
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function weightsOf({ parameters }: Module): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for (const { name, trainable, data } of parameters) if (trainable) found.set(name, Buffer.from(await data!.read()));
  return found;
}

test.each(['best', 'latest', 4] as const)('%s: has the weights of its step, bit for bit', async (which) => {
  const step = { best, latest: last, 4: 4 }[which];
  await using model = await openCheckpointModel(run, which);
  expect(model.step).toBe(step);
  const checkpoint = await openTrainingCheckpoint(run, step);
  const expected = new Map<string, Buffer>();
  for (const [name, tensor] of checkpoint.parameters) expected.set(name, Buffer.from(await tensor.read()));
  await checkpoint.close();
  expect(await weightsOf(model.module)).toEqual(expected);
});

test('the best is not the last here, and the last is the model that the run left, to the byte', async () => {
  expect(best).not.toBe(last);
  await using model = await openCheckpointModel(run, 'latest');
  await saveModule(model.module, at('latest.qvr'));
  expect(readFileSync(at('latest.qvr')).equals(readFileSync(at('run/model.qvr')))).toBe(true);
});

test('it is exported and imported as any model', async () => {
  await using model = await openCheckpointModel(run, 2);
  await exportHfBf16(model.module, at('bf16'));
  await using imported = await importModelFile(at('bf16'));
  const found = await weightsOf(imported.module);
  for (const [name, bytes] of await weightsOf(model.module)) {
    const values = new Float32Array(new Uint8Array(bytes).buffer);
    const rounded = new Uint16Array(new Uint8Array(found.get(name)!).buffer);
    const widened = new Float32Array(Uint32Array.from(rounded, (bits) => bits << 16).buffer);
    // BF16 has 8 significant bits.
    expect(
      values.every((value, i) => Math.abs(value - widened[i]!) <= Math.abs(value) * 2 ** -8),
      name,
    ).toBe(true);
  }
});

describe('errors', () => {
  async function failure(folder: string, which: WhichCheckpoint): Promise<QuaverError> {
    const error = await openCheckpointModel(folder, which).then(
      () => undefined,
      (error) => error,
    );
    expect(error).toBeInstanceOf(QuaverError);
    return error;
  }
  const copy = (name: string) => {
    cpSync(run, at(name), { recursive: true });
    return at(name);
  };
  const edit = (name: string, changes: object) => {
    const file = path.join(at(name), 'config.json');
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...changes }));
  };

  test('no such run or checkpoint, and none that was evaluated', async () => {
    expect(await failure(at('nowhere'), 'best')).toMatchObject({ code: 'run-not-found' });
    expect(await failure(run, 3)).toMatchObject({
      code: 'checkpoint-not-found',
      hint: expect.stringContaining('2, 4, 6'),
    });
    const bare = copy('bare');
    rmSync(path.join(bare, 'checkpoints'), { recursive: true });
    for (const which of ['best', 'latest'] as const) {
      expect(await failure(bare, which)).toMatchObject({
        code: 'checkpoint-not-found',
        message: expect.stringContaining('no checkpoint yet'),
      });
    }
  });

  test('damage', async () => {
    const damaged = copy('damaged');
    const file = path.join(damaged, 'checkpoints/step-00000006/model.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 3]! ^= 4;
    writeFileSync(file, bytes);
    expect(await failure(damaged, 'latest')).toMatchObject({ code: 'checkpoint-corrupt', where: { file } });
    appendFileSync(file, 'x');
    expect(await failure(damaged, 'latest')).toMatchObject({
      code: 'checkpoint-corrupt',
      hint: expect.stringContaining('Step 4 is complete'),
    });
  });

  test('the model that the run started from is gone, or another', async () => {
    copy('without model');
    edit('without model', { model: at('gone') });
    expect(await failure(at('without model'), 'latest')).toMatchObject({
      code: 'run-model-missing',
      message: expect.stringContaining(at('gone')),
      hint: expect.stringContaining('config.json'),
    });
    copy('other model');
    edit('other model', { model: tinyCheckpoint(folder, 'llama3') });
    const other = await failure(at('other model'), 'latest');
    expect(other).toMatchObject({
      code: 'checkpoint-of-another-model',
      message: expect.stringContaining('expected f32['),
    });
  });
});
