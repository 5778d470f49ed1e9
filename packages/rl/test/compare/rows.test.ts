import { describe, expect, test } from 'vitest';
import { rlRow } from '../../src/compare/rows.ts';
import type { RlRecord } from '../../src/loop/records.ts';

const run = { recipe: 'bf16', mode: 'unified', seed: 3, bytes_per_parameter: 2 } as const;

function record(step: number, changes: Partial<RlRecord> = {}): RlRecord {
  return {
    ...{ step, loss: 0.1, lr: 1e-4, grad_norm: 1, tokens: 100, tokens_per_s: 10, policy_age: 0, sampling_rounds: 1 },
    ...{ rollout_gflop: 4, rollout_gbyte: 1, train_gflop: 30, train_gbyte: 0.5 },
    ...{ reward: step / 10, accuracy: 0.5, response_tokens: 8, truncated: 0, reward_failures: 0, skipped_groups: 0 },
    ...{ entropy: 0.2, rollout_tokens: 50, rollout_tokens_per_s: 25, train_tokens_per_s: 40 },
    ...{
      compared_tokens: 40,
      token_mult_prob_error: 1,
      gen_kl_error: 0,
      mismatched_tokens: 0,
      max_abs_logprob_diff: 0,
    },
    step_seconds: 5,
    seconds: { rollout: 2, forward_backward: 3, evaluate: 100 },
    ...changes,
  };
}

describe('the figures of a run', () => {
  test('a run without mismatch has exactly 1, whatever the numbers of tokens', () => {
    const records = [
      record(1, { compared_tokens: 3 }),
      record(2, { compared_tokens: 7 }),
      record(3, { compared_tokens: 11 }),
    ];
    expect(rlRow(run, records)).toMatchObject({
      token_mult_prob_error: 1,
      gen_kl_error: 0,
      mismatched_tokens: 0,
      compared_tokens: 21,
    });
  });

  test('mismatch is a mean over tokens', () => {
    const records = [
      record(1, { compared_tokens: 100, token_mult_prob_error: 1.25, mismatched_tokens: 4 }),
      record(2, { compared_tokens: 300, token_mult_prob_error: 1.5, mismatched_tokens: 5 }),
    ];
    expect(rlRow(run, records)).toMatchObject({ token_mult_prob_error: (1.25 + 3 * 1.5) / 4, mismatched_tokens: 9 });
  });

  test('steps without anything to learn from do not count in mismatch', () => {
    const { token_mult_prob_error: _, gen_kl_error: __, compared_tokens: ___, ...empty } = record(2, { tokens: 0 });
    const row = rlRow(run, [record(1, { token_mult_prob_error: 1.5 }), empty]);
    expect(row).toMatchObject({ token_mult_prob_error: 1.5, tokens: 100 });
    expect(rlRow(run, [empty])).toMatchObject({ token_mult_prob_error: null, gen_kl_error: null });
  });

  test('reward is that of the last fifth, seconds leave evaluations out, accuracy is the last one', () => {
    const records = Array.from({ length: 10 }, (_, i) =>
      record(i + 1, i === 4 ? { heldout_accuracy: 0.25 } : i === 8 ? { heldout_accuracy: 0.75 } : {}),
    );
    expect(rlRow(run, records)).toMatchObject({ reward: 0.95, step_seconds: 5, heldout_accuracy: 0.75 });
  });
});
