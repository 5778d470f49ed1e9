import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { algorithms } from '../../src/index.ts';
import type { RlEvent } from '../../src/loop/run-events.ts';
import { at, evenTokens, taskOf, tinyRun } from '../support/tiny-rl.ts';

describe('a run', () => {
  test('learns: the reward rises', async () => {
    const { records } = await tinyRun('learns', {
      steps: 25,
      algorithm: { name: 'grpo' },
      schedule: { decay: 'constant', peak: 3e-3 },
    });
    const mean = (values: typeof records) => values.reduce((sum, { reward }) => sum + reward, 0) / values.length;
    expect(mean(records.slice(-5))).toBeGreaterThan(mean(records.slice(0, 5)) + 0.1);
    const report = await readFile(path.join(at('learns'), 'report.html'), 'utf8');
    for (const text of ['bf16, unified, seed 0', 'Reward, smoothed', 'forward_backward'])
      expect(report).toContain(text);
  });

  test.each(algorithms.map(({ name }) => name))('%s takes its steps', async (name) => {
    const { records, result } = await tinyRun(`algorithm ${name}`, { steps: 2, algorithm: { name } });
    expect(result).toMatchObject({ steps: 2, mismatched_tokens: 0 });
    for (const { loss, grad_norm: norm } of records) {
      expect(loss).toBeTypeOf('number');
      expect(norm).toBeGreaterThan(0);
    }
  });

  test('a penalty for leaving the reference is 0 at first, and grows', async () => {
    const { records } = await tinyRun('reference', {
      steps: 4,
      algorithm: { name: 'grpo', kl_coefficient: 100, std: 'none' },
      schedule: { decay: 'constant', peak: 3e-3 },
    });
    // The mean of advantages is 0, and so is the loss while the policy is the reference.
    expect(Math.abs(records[0]!.loss)).toBeLessThan(1e-4);
    expect(records[2]!.loss).toBeGreaterThan(1e-2);
  });

  test('the same seed gives the same bits, another seed others', async () => {
    const [a, b, c] = [
      await tinyRun('seed a', { steps: 2 }),
      await tinyRun('seed b', { steps: 2 }),
      await tinyRun('seed c', { steps: 2, seed: 1 }),
    ];
    expect(b.result.parameters_sha256).toBe(a.result.parameters_sha256);
    expect(c.result.parameters_sha256).not.toBe(a.result.parameters_sha256);
  });

  test('how many sequences run together changes no bit', async () => {
    const rollout = { prompts: 4, samples: 4, max_new_tokens: 12 };
    const [alone, together] = [
      await tinyRun('one by one', { steps: 2, rollout: { ...rollout, max_sequences: 1, cache_tokens: 64 } }),
      await tinyRun('together', { steps: 2, rollout: { ...rollout, max_sequences: 16, cache_tokens: 1024 } }),
    ];
    expect(alone.result.parameters_sha256).toBe(together.result.parameters_sha256);
  });

  test('minibatches are optimizer steps of their own, and what they learn from is compared before the first', async () => {
    const algorithm = { name: 'ppo', epochs: 2, minibatches: 3 };
    const { records, result } = await tinyRun('minibatches', { steps: 2, algorithm, recipe: 'fp8-block' });
    const whole = await tinyRun('no minibatches', { steps: 2, algorithm: { ...algorithm, minibatches: 1 } });
    expect(result.parameters_sha256).not.toBe(whole.result.parameters_sha256);
    for (const { seconds, ...record } of records) {
      expect(record).toMatchObject({ mismatched_tokens: 0, token_mult_prob_error: 1 });
      expect(seconds).toMatchObject({ logprobs: expect.any(Number) });
    }
    // After the first of 2 · 3 steps the ratios are no longer 1.
    expect(records[0]!.approx_kl).toBeGreaterThan(0);
  });

  test('a gradient of minibatches without a step in between is that of the whole', async () => {
    const changes = { steps: 1, algorithm: { name: 'grpo' }, schedule: { decay: 'constant', peak: 1e-9 } };
    const [one, three] = [
      await tinyRun('whole gradient', changes),
      await tinyRun('split gradient', { ...changes, algorithm: { name: 'grpo', minibatches: 3 } }),
    ];
    expect(three.records[0]!.loss).toBeCloseTo(one.records[0]!.loss, 5);
    expect(three.records[0]!.tokens).toBe(one.records[0]!.tokens);
  });

  test('dynamic sampling takes more prompts in the place of groups that teach nothing', async () => {
    // Two of every four problems are equally good, whatever the answer.
    const task = taskOf((response, id) =>
      Number(id.split(' ')[1]) % 4 < 2 ? { status: 'ok', reward: 1, correct: true } : evenTokens(response),
    );
    const algorithm = { name: 'dapo', overlong_penalty: 0 };
    const { records } = await tinyRun('sampled again', { steps: 2, algorithm }, { task });
    expect(records.map(({ sampling_rounds: rounds }) => rounds)).toEqual([2, 2]);
    expect(records.map(({ skipped_groups: count }) => count)).toEqual([4, 4]);
    const once = await tinyRun('sampled once', { steps: 2, algorithm: { ...algorithm, sampling_rounds: 1 } }, { task });
    expect(once.records.map(({ skipped_groups: count }) => count)).toEqual([2, 2]);
    expect(records[0]!.tokens).toBeGreaterThan(1.5 * once.records[0]!.tokens);
  });

  test('equal rewards teach nothing, and change nothing', async () => {
    const task = taskOf(() => ({ status: 'ok', reward: 1, correct: true }));
    const { records, result } = await tinyRun('equal', { steps: 2 }, { task });
    expect(records.map(({ skipped_groups: count }) => count)).toEqual([4, 4]);
    const untouched = await tinyRun('equal, one step', { steps: 1 }, { task });
    expect(result.parameters_sha256).toBe(untouched.result.parameters_sha256);
    expect(records[0]).toMatchObject({ reward: 1, loss: 0, grad_norm: 0, tokens: 0 });
  });

  test('a task of two turns: both are learned from, in the bits of training', async () => {
    const seen: number[] = [];
    const one = taskOf((response) => {
      seen.push(response.messages.length);
      return evenTokens(response);
    });
    const respond = async (_: unknown, { messages }: { messages: readonly unknown[] }) =>
      messages.length === 1 ? 'Go on.' : undefined;
    const { records, result } = await tinyRun('turns', { steps: 2 }, { task: { ...one, respond } });
    // What the policy said, what it was answered, and what it said then.
    expect(new Set(seen)).toEqual(new Set([3]));
    expect(result).toMatchObject({ mismatched_tokens: 0, token_mult_prob_error: 1 });
    // Two turns of at most 12 tokens each, of 16 samples.
    expect(records[0]!.rollout_tokens).toBeGreaterThan(16 * 12);
  });

  test('rewards that could not be had are counted, and are not 0', async () => {
    let calls = 0;
    const task = taskOf((response) =>
      calls++ % 4 === 0 ? { status: 'failed', reason: 'timeout', message: 'it took too long' } : evenTokens(response),
    );
    const { records, result } = await tinyRun('failures', { steps: 2 }, { task });
    expect(records.map(({ reward_failures: count }) => count)).toEqual([4, 4]);
    expect(result.reward_failures).toBe(8);
    expect(records[0]!.reward).toBeGreaterThan(0.3);
  });
});

describe('a run that was stopped', () => {
  const stopAfter = (step: number) => {
    const controller = new AbortController();
    const onEvent = (event: RlEvent) => {
      if (event.phase === 'step' && event.record.step === step) controller.abort();
    };
    return { signal: controller.signal, onEvent };
  };
  const evaluate = { every: 2, problems: 4 };

  test.each([
    ['unified', { algorithm: { name: 'reinforce', baseline: 'ema' } }],
    [
      'split, one batch ahead',
      { mode: 'split', max_policy_age: 1, correction: { name: 'tis' }, checkpoint: { every: 2 } },
    ],
  ])('goes on with the bits of one that was not: %s', async (name, changes) => {
    const all = { steps: 4, evaluate, recipe: 'fp8-block', ...changes };
    const whole = await tinyRun(`whole, ${name}`, all);
    const stopped = `stopped, ${name}`;
    await expect(tinyRun(stopped, all, stopAfter(2))).rejects.toMatchObject({ code: 'aborted' });
    const resumed = await tinyRun(stopped, all, { resume: true });
    expect(resumed.result.parameters_sha256).toBe(whole.result.parameters_sha256);
    expect(resumed.records.map(({ reward }) => reward)).toEqual(whole.records.map(({ reward }) => reward));
    expect(resumed.result.heldout_accuracy_before).toBe(whole.result.heldout_accuracy_before);
  });

  test('generation ahead is one step old, but not across a checkpoint', async () => {
    const changes = {
      steps: 6,
      mode: 'split',
      max_policy_age: 1,
      correction: { name: 'tis' },
      checkpoint: { every: 3 },
    };
    const { records } = await tinyRun('ahead', changes);
    expect(records.map(({ policy_age: age }) => age)).toEqual([0, 1, 1, 0, 1, 1]);
  });

  test('a folder that holds a run is not overwritten', async () => {
    await tinyRun('taken', { steps: 1 });
    await expect(tinyRun('taken', { steps: 1 })).rejects.toMatchObject({ code: 'run-folder-not-empty' });
    await expect(tinyRun('none', {}, { resume: true, folder: at('none') })).rejects.toMatchObject({
      code: 'run-not-found',
    });
  });
});
