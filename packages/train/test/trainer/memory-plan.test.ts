/** @file The memory that a training run is predicted to take, against what it allocates. */

import type { RematPolicy } from '@quaver/compiler';
import { referencePlugin } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { createLlama } from '@quaver/models';
import { describe, expect, test } from 'vitest';
import { openMetered } from '../../../executor-cpu/test/memory-meter.ts';
import { adamw, planTrainingMemory, sgd, TrainingSession } from '../../src/index.ts';
import { compileTraining } from '../../src/trainer/compile-training.ts';
import { batchOf } from './loss-batches.ts';
import { tinyLlama } from './tiny-run.ts';

const optimizers = { adamw: adamw({}), sgd: sgd({}) };

describe.each<[recipe: string, optimizer: keyof typeof optimizers, rows: number, tokens: number, remat: RematPolicy]>([
  ['f32', 'sgd', 1, 7, 'none'],
  ['bf16', 'adamw', 2, 64, 'layers'],
  ['fp8-block', 'adamw', 3, 33, 'none'],
  ['fp8-delayed', 'adamw', 2, 64, 'cheap'],
])('%s, %s, %i rows of %i tokens, remat %s', (recipe, name, rows, tokens, remat) => {
  const options = { recipe, optimizer: () => optimizers[name], maxGradientNorm: 1, remat };

  test('is what the executor hands out, to the byte', { timeout: 60_000 }, async () => {
    const model = tinyLlama();
    const { executor, peak } = await openMetered('native');
    await using _ = executor;
    const { total } = await planTrainingMemory(model, executor, { ...options, rows, tokens });
    expect(peak()).toBe(0);
    await using session = await TrainingSession.open(model, executor, options);
    const batch = batchOf(rows, tokens);
    for (let step = 0; step < 2; step++) await session.step([batch, batch], 1e-3);
    await session.evaluate([batch]);
    // `discard` runs only before the first step of a recipe with histories, and the functions share one arena.
    expect(peak()).toBe(total);
  });
});

test('an executor that says nothing of its memory has the slots of its plan, and parameters as they are', async () => {
  const model = tinyLlama();
  await using executor = await referencePlugin().open();
  const options = { recipe: 'bf16', optimizer: () => optimizers.adamw };
  const { items, workspaces } = await planTrainingMemory(model, executor, { ...options, rows: 2, tokens: 16 });
  const bytes = Object.fromEntries(items.map((item) => [item.what, item.bytes]));
  const { training } = await compileTraining(model, options);
  const masters = training.module.parameters
    .filter(({ trainable }) => trainable)
    .reduce((sum, { type }) => sum + type.shape.reduce((product, dim) => product * dim, 4), 0);
  expect(bytes).toMatchObject({ 'master weights': masters, 'gradient sums': masters, 'optimizer states': 2 * masters });
  expect(bytes['activations and workspace']).toBe(Math.max(...Object.values(workspaces)));
});

/** Of SmolLM2-135M, whose weights nobody reads here. */
const smollm2 = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49_152,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 100_000,
  tie_word_embeddings: true,
  hidden_act: 'silu',
};

test.each(['bf16', 'fp8-block', 'fp8-tensor'])(
  'with remat, activations of SmolLM2 at 2,048 tokens take at most 0.35 of the memory: %s',
  { timeout: 240_000 },
  async (recipe) => {
    await using executor = await cpuPlugin.open({ threads: 1 });
    const activations = async (remat: RematPolicy) => {
      const options = { recipe, optimizer: () => optimizers.adamw, remat, rows: 4, tokens: 512 };
      const { workspaces } = await planTrainingMemory(createLlama(smollm2, { seed: 0 }), executor, options);
      return workspaces.backward!;
    };
    const [none, layers] = [await activations('none'), await activations('layers')];
    expect(layers / none).toBeLessThanOrEqual(0.35);
    // The logits alone, in f32: no policy does without them.
    expect(layers).toBeGreaterThan(4 * 2048 * 49_152);
  },
);
