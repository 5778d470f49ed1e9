import { compile } from '@quaver/compiler';
import type { Executor } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { createLlama } from '@quaver/models';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { diagnose } from '../../src/diagnose/diagnose.ts';

const model = createLlama(
  {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: 96,
    hidden_size: 128,
    intermediate_size: 256,
    num_hidden_layers: 3,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 64,
    hidden_act: 'silu',
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: true,
    initializer_range: 0.05,
    eos_token_id: 0,
  },
  { seed: 1, name: 'tiny' },
);
const tokens = Array.from({ length: 40 }, (_, i) => (i * 37 + 11) % 96);

let canonical: Executor;
let fast: Executor;
beforeAll(async () => {
  canonical = await cpuPlugin.open({ threads: 1 });
  fast = await cpuPlugin.open({ threads: 1, reduction: 'fast' });
});
afterAll(async () => {
  await canonical[Symbol.asyncDispose]();
  await fast[Symbol.asyncDispose]();
});

async function differences(recipe: string, generation: Executor) {
  const { module } = await compile(model, { recipe });
  return diagnose({ module, generation, training: canonical, tokens });
}

describe('the node at which generation and training begin to differ', () => {
  test.each(['bf16', 'fp8-block'])('there is none in one order of arithmetic: %s', async (recipe) => {
    const { compared_nodes: compared, different_nodes: different } = await differences(recipe, canonical);
    expect(different).toEqual([]);
    // Embedding; in each of three layers two norms, seven products, attention and what is around it; the head.
    expect(compared).toBeGreaterThan(3 * 12);
  });

  test('an executor that adds in any order differs from the first sum on, and further on in more', async () => {
    const { different_nodes: different } = await differences('bf16', fast);
    // The first sum of the model is that of the norm before the first layer.
    expect(different[0]).toMatchObject({ location: 'model.layers.0.self_attn', training_op: 'rms_norm' });
    expect(different.at(-1)?.location).toBe('logprobs');
    for (const { max_abs_diff: difference, max_abs_value: value } of different) {
      expect(difference).toBeGreaterThan(0);
      expect(difference).toBeLessThan(0.05 * value);
    }
  });

  test('FP8 in generation alone differs from the first product that it has', async () => {
    const { different_nodes: different } = await differences('fp8-generate-only', canonical);
    expect(different[0]).toMatchObject({
      location: 'model.layers.0.self_attn.q_proj',
      generation_op: 'scaled_dot',
      training_op: 'dot_general',
      first_position: 0,
    });
  });

  test('one token is no sequence', async () => {
    const { module } = await compile(model, { recipe: 'bf16' });
    const short = diagnose({ module, generation: canonical, training: canonical, tokens: [1] });
    await expect(short).rejects.toMatchObject({ code: 'rl-sequence-short' });
  });
});
