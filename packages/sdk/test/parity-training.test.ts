/** @file The forward pass inside of a training step against generation, of an imported model. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Executor } from '@quaver/executor';
import { afterAll, describe, expect, test } from 'vitest';
import {
  type CheckedParity,
  checkParity,
  compileModel,
  exportHfFp8,
  importModelFile,
  openExecutor,
} from '../src/node.ts';
import { temporaryFolder, tinyCheckpoint } from './tiny-checkpoint.ts';

const folder = temporaryFolder();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const trainingCases = ['loss', 'loss, packed', 'training step', 'training step, packed'];

function byName({ report }: CheckedParity, name: string, cache = 'bf16') {
  return report.cases.find((item) => item.name === name && item.kv_cache === cache);
}

/** A tiny model whose rows have place for two sequences of 140 tokens. */
function importTiny(name = 'smollm2') {
  const checkpoint = tinyCheckpoint(folder, name);
  const file = path.join(checkpoint, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify({ ...config, max_position_embeddings: 512 }));
  return importModelFile(checkpoint);
}

/** The executor, but whoever asks for the keys of a sequence gets those of its whole row. */
function withoutFirstKeys(inner: Executor): Executor {
  const zeros: ReturnType<Executor['allocate']>[] = [];
  return {
    ...{ id: inner.id, device: inner.device, capabilities: inner.capabilities, lost: inner.lost },
    supports: (node) => inner.supports(node),
    compile: (fn, signal) => inner.compile(fn, signal),
    allocate: (byteLength, usage) => inner.allocate(byteLength, usage),
    upload: (buffer, bytes) => inner.upload(buffer, bytes),
    download: (buffer) => inner.download(buffer),
    wait: (fence) => inner.wait(fence),
    submit(program, bindings, signal) {
      const { first_key: keys } = bindings.inputs;
      if (!keys) return inner.submit(program, bindings, signal);
      const zero = inner.allocate(keys.byteLength, 'input');
      zeros.push(zero);
      return inner.submit(program, { ...bindings, inputs: { ...bindings.inputs, first_key: zero } }, signal);
    },
    async [Symbol.asyncDispose]() {
      for (const buffer of zeros) buffer.dispose();
      await inner[Symbol.asyncDispose]();
    },
  };
}

describe.each(['smollm2', 'llama3', 'qwen3'])('%s', (name) => {
  test.each(['bf16', 'fp8-block'])('%s: a training step has the bits of generation, packed too', async (recipe) => {
    await using imported = await importTiny(name);
    const checked = await checkParity(imported.module, { recipe, tokens: 64 });
    expect(checked.promised).toBe(true);
    expect(checked.report).toMatchObject({ mismatched_tokens: 0, max_abs_logprob_diff: 0, left_out: [] });
    // 8 sequences of 1 to 8 tokens and 8 more, and one of 140; in pairs the last has no place.
    const all = 8 * 7 + 36 + 139;
    for (const cache of ['bf16', 'fp8']) {
      expect(trainingCases.map((item) => byName(checked, item, cache)?.tokens)).toEqual([all, all - 15, all, all - 15]);
    }
  });
});

test('sequences that see those before them in their row are found out', async () => {
  await using imported = await importTiny();
  await using executor = withoutFirstKeys(await openExecutor('cpu'));
  const checked = await checkParity(imported.module, { recipe: 'fp8-block', tokens: 16, executor });
  const wrong = checked.report.cases.filter(({ mismatched_tokens }) => mismatched_tokens > 0);
  expect(new Set(wrong.map(({ name }) => name))).toEqual(new Set(['loss, packed', 'training step, packed']));
  for (const { tokens, mismatched_tokens } of wrong) {
    // Of every pair the second; it has as many tokens as the first and one more.
    expect(mismatched_tokens).toBeGreaterThan(tokens / 4);
    expect(mismatched_tokens).toBeLessThanOrEqual(tokens / 2 + 4);
  }
});

test('scales that depend on other rows are measured, and not promised', async () => {
  await using imported = await importTiny();
  const { report, promised } = await checkParity(imported.module, { recipe: 'fp8-tensor', tokens: 16 });
  expect(promised).toBe(false);
  expect(report.cases.filter(({ name }) => trainingCases.includes(name))).toHaveLength(8);
});

describe('what cannot be compared is listed with its reason', () => {
  const leftOut = async (...parameters: Parameters<typeof checkParity>) => {
    const { report } = await checkParity(...parameters);
    expect(report.mismatched_tokens).toBe(0);
    return [...new Set(report.left_out.map(({ name, reason }) => `${name}: ${reason}`))];
  };

  test('for compiled models, those stored in FP8, and on request', async () => {
    await using imported = await importModelFile(tinyCheckpoint(folder));
    const { module } = await compileModel(imported.module);
    const whole = (reason: string) => trainingCases.map((name) => `${name}: ${reason}`);
    expect(await leftOut(module, { tokens: 8 })).toEqual(
      whole('the model is compiled: the weights that training needs are not in it'),
    );
    expect(await leftOut(imported.module, { tokens: 8, training: false })).toEqual(whole('it was not asked for'));
    await exportHfFp8(module, `${folder}/fp8`);
    await using fp8 = await importModelFile(`${folder}/fp8`);
    const reasons = await leftOut(fp8.module, { tokens: 8, recipe: 'fp8-block' });
    expect(reasons).toHaveLength(4);
    expect(reasons[0]).toContain('stores weights in FP8 (model.layers.0.');
  });

  test('for rows that are too short for two sequences', async () => {
    await using imported = await importModelFile(tinyCheckpoint(folder), { context: 100 });
    const reason = 'no two of the sequences fit in a row of 100 tokens, the second from a multiple of 128 on';
    expect(await leftOut(imported.module, { tokens: 8 })).toEqual(
      ['loss, packed', 'training step, packed'].map((name) => `${name}: ${reason}`),
    );
  });
});
