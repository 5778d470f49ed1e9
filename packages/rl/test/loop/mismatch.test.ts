import { describe, expect, test } from 'vitest';
import { type Changes, tinyRun, webAssembly } from '../support/tiny-rl.ts';

const fp8: Changes = { kv_cache: 'fp8', attention: 'fp8', lm_head: 'fp8' };

describe('generation and training of one step', () => {
  test.each<[string, Changes]>([
    ['bf16', { recipe: 'bf16' }],
    ['f32', { recipe: 'f32' }],
    ['fp8-block', { recipe: 'fp8-block' }],
    ['fp8-block with FP8 cache, attention and head', { recipe: 'fp8-block', ...fp8 }],
    ['fp8-row', { recipe: 'fp8-row', kv_cache: 'fp8' }],
    ['mxfp8', { recipe: 'mxfp8', kv_cache: 'fp8' }],
  ])('unified: the same bits in every token, %s', async (name, changes) => {
    const { records, result } = await tinyRun(`unified ${name}`, changes);
    expect(records.map(({ token_mult_prob_error: error }) => error)).toEqual([1, 1, 1]);
    expect(records.map(({ gen_kl_error: error }) => error)).toEqual([0, 0, 0]);
    expect(records.map(({ sampling_importance_ratio: ratio }) => ratio)).toEqual([1, 1, 1]);
    expect(result).toMatchObject({ mismatched_tokens: 0, token_mult_prob_error: 1, skipped_steps: 0 });
    // Not because nothing was compared or moved.
    expect(Math.min(...records.map(({ rollout_tokens: tokens }) => tokens))).toBeGreaterThan(50);
    expect(Math.min(...records.map(({ grad_norm: norm }) => norm))).toBeGreaterThan(0);
  });

  test('WebAssembly with two threads: the same bits as well, and those of native code', async () => {
    const changes = { recipe: 'fp8-block', ...fp8, steps: 2 };
    const native = await tinyRun('native', changes);
    const { result } = await tinyRun('wasm', changes, { executor: webAssembly });
    expect(result).toMatchObject({ mismatched_tokens: 0, token_mult_prob_error: 1 });
    expect(result.parameters_sha256).toBe(native.result.parameters_sha256);
  });

  test('FP8 in generation alone differs in nearly every token', async () => {
    const { records } = await tinyRun('generate-only', { recipe: 'fp8-generate-only' });
    for (const { token_mult_prob_error: error, mismatched_tokens: count = 0, compared_tokens: tokens } of records) {
      expect(error).toBeGreaterThan(1);
      expect(count).toBeGreaterThan(0.8 * tokens!);
    }
  });

  test.each(['bf16', 'fp8-block'])('split: generation in another order differs, %s', async (recipe) => {
    const { records, result } = await tinyRun(`split ${recipe}`, { recipe, mode: 'split' });
    expect(result.mismatched_tokens).toBeGreaterThan(0);
    expect(Math.max(...records.map(({ token_mult_prob_error: error }) => error!))).toBeLessThan(1.05);
  });

  test('a recipe with delayed scales is refused', async () => {
    await expect(tinyRun('delayed', { recipe: 'fp8-delayed' })).rejects.toMatchObject({ code: 'rl-recipe-delayed' });
  });
});
