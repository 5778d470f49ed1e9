import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { TrainingSession } from '@quaver/train';
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
    const changes = { steps: 2, algorithm: { ...algorithm, minibatches: 1 }, recipe: 'fp8-block' };
    const whole = await tinyRun('no minibatches', changes);
    expect(result.parameters_sha256).not.toBe(whole.result.parameters_sha256);
    for (const { seconds, ...record } of records) {
      expect(record).toMatchObject({ mismatched_tokens: 0, token_mult_prob_error: 1 });
      expect(seconds).toMatchObject({ logprobs: expect.any(Number) });
    }
    // After the first of 2 · 3 steps the ratios are no longer 1.
    expect(records[0]!.approx_kl).toBeGreaterThan(0);
  });

  test('every minibatch stands for the whole: small steps along three are three along the gradient of all', async () => {
    const trained = async (name: string, minibatches: number, peak: number) => {
      const values: number[] = [];
      const read = async (session: TrainingSession) => {
        for (const parameter of session.parameters) {
          const bytes = await session.readParameter(parameter.name);
          values.push(...new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
        }
      };
      const changes = {
        steps: 1,
        algorithm: { name: 'grpo', minibatches },
        schedule: { decay: 'constant', peak },
        optimizer: { name: 'sgd' },
        max_grad_norm: null,
      };
      await tinyRun(name, changes, {}, read);
      return values;
    };
    const before = await trained('no step', 1, 1e-30);
    const moved = async (name: string, minibatches: number) =>
      (await trained(name, minibatches, 1e-3)).map((value, i) => value - before[i]!);
    const [one, three] = [await moved('one part', 1), await moved('three parts', 3)];
    const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
    expect(dot(one, one)).toBeGreaterThan(0);
    expect(dot(one, three) / dot(one, one)).toBeCloseTo(3, 1);
    expect(dot(one, three) / Math.sqrt(dot(one, one) * dot(three, three))).toBeGreaterThan(0.999);
  });

  test('dynamic sampling takes more prompts in the place of groups that teach nothing', async () => {
    // Two of every four problems are equally good, whatever the answer.
    const task = taskOf((response, id) =>
      Number(id.split(' ')[1]) % 4 < 2 ? { status: 'ok', reward: 1, correct: true } : evenTokens(response),
    );
    const algorithm = { name: 'dapo', overlong_penalty: 0 };
    const asked: string[] = [];
    const problems = async (first: number, count: number) => {
      const found = await task.problems(first, count);
      asked.push(...found.map(({ id }) => id));
      return found;
    };
    const { records } = await tinyRun('sampled again', { steps: 2, algorithm }, { task: { ...task, problems } });
    // Two rounds of two steps, and never a problem twice.
    expect(new Set(asked).size).toBe(4 * 4);
    expect(asked).toHaveLength(4 * 4);
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

  test('a conversation that has no room for another turn ends, and is judged as it stands', async () => {
    const seen: number[] = [];
    const task = taskOf((response) => {
      seen.push(response.messages.length);
      return evenTokens(response);
    });
    const respond = async () => 'And on and on it goes, until there is no more room.';
    const { result } = await tinyRun('long', { steps: 1 }, { task: { ...task, respond } });
    expect(result.steps).toBe(1);
    expect(Math.min(...seen)).toBe(1);
  });

  test('an environment that fails to answer loses the sample', async () => {
    const respond = async ({ id }: { readonly id: string }) =>
      id === 'train 0' ? ({ status: 'failed', reason: 'threw', message: 'no such thing' } as const) : undefined;
    const { records } = await tinyRun('silent', { steps: 1 }, { task: { ...taskOf(), respond } });
    expect(records[0]).toMatchObject({ reward_failures: 4 });
  });

  test('a step without any answer that could be judged ends the run, and says what the verifier said', async () => {
    const task = taskOf(() => ({ status: 'failed', reason: 'threw', message: 'no such thing' }));
    await expect(tinyRun('unjudged', { steps: 1 }, { task })).rejects.toThrow(
      expect.objectContaining({ code: 'rl-rewards-failed', hint: expect.stringContaining('no such thing') }),
    );
  });

  test('a run whose next step fails has a checkpoint of the last one', async () => {
    const task = taskOf();
    const problems = async (first: number, count: number) => {
      if (first >= 8) throw new TypeError('there are no more');
      return task.problems(first, count);
    };
    const changes = { steps: 4, checkpoint: { every: 50 } };
    const failing = tinyRun('failing', changes, { task: { ...task, problems } });
    await expect(failing).rejects.toThrow('there are no more');
    const resumed = await tinyRun('failing', changes, { resume: true });
    expect(resumed.result.parameters_sha256).toBe((await tinyRun('not failing', changes)).result.parameters_sha256);
    expect((await readFile(path.join(at('failing'), 'metrics.jsonl'), 'utf8')).trim().split('\n')).toHaveLength(4);
  });

  test('without held-out problems there is nothing to evaluate: that is said before the first step', async () => {
    const task = { ...taskOf(), heldOut: async () => [] };
    const run = tinyRun('no held-out', { evaluate: { every: 1, problems: 4 } }, { task });
    await expect(run).rejects.toMatchObject({ code: 'rl-heldout-empty' });
  });

  test('evaluation may sample: several answers to each problem, the same in every run', async () => {
    const evaluate = { every: 1, problems: 3, samples: 5, temperature: 1 };
    const accuracies: number[] = [];
    const onEvent = (event: RlEvent) => {
      if (event.phase === 'evaluate') accuracies.push(event.accuracy);
    };
    const changes = { steps: 1, evaluate, schedule: { decay: 'constant', peak: 1e-30 } };
    await tinyRun('sampled evaluation', changes, { onEvent });
    expect(accuracies).toHaveLength(2);
    expect(accuracies[0]).toBe(accuracies[1]);
    expect(Number.isInteger(15 * accuracies[0]!)).toBe(true);
  });

  test.each([
    ['rollout.samples', { rollout: { prompts: 4, samples: 1, max_new_tokens: 12 } }],
    ['algorithm.dual_clip', { algorithm: { name: 'grpo', dual_clip: 1.1 } }],
    ['algorithm.constant_length', { algorithm: { name: 'dapo', constant_length: 8 } }],
    ['correction.low', { correction: { name: 'icepop', low: 6, high: 5 } }],
    ['correction.low', { correction: { name: 'sequence-mask', low: 2 } }],
    ['kv_cache', { recipe: 'fp8-block+kv-cache=bf16', kv_cache: 'fp8' }],
    ['evaluate.samples', { evaluate: { every: 1, problems: 4, samples: 2 } }],
    ['reward.timeout_ms', { reward: { timeout_ms: 3e9 } }],
  ])('contradictory options are refused: %s', async (field, changes) => {
    const refused = expect.objectContaining({ code: 'rl-config-invalid', message: expect.stringContaining(field) });
    await expect(async () => tinyRun(`refused ${field}`, changes)).rejects.toThrow(refused);
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

  test('a run is not gone on with by another configuration', async () => {
    await tinyRun('kept', { steps: 1 });
    const changed = tinyRun('kept', { steps: 1, algorithm: { name: 'rloo' } }, { resume: true });
    await expect(changed).rejects.toThrow(
      expect.objectContaining({
        code: 'run-config-changed',
        message: expect.stringContaining('algorithm.name was "grpo" and is "rloo"'),
      }),
    );
  });

  test('a configuration that was edited in the folder is noticed', async () => {
    const changes = { steps: 2, checkpoint: { every: 1 } };
    await expect(tinyRun('edited', changes, stopAfter(1))).rejects.toMatchObject({ code: 'aborted' });
    const file = path.join(at('edited'), 'config.json');
    await writeFile(file, (await readFile(file, 'utf8')).replace('0.001', '0.5'));
    const edited = { ...changes, schedule: { decay: 'constant', peak: 0.5 } };
    await expect(tinyRun('edited', edited, { resume: true })).rejects.toMatchObject({ code: 'run-config-changed' });
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
    // Older weights have other probabilities; that says nothing of the arithmetic.
    expect(records.map(({ compared_tokens: count }) => count !== undefined)).toEqual([
      true,
      false,
      false,
      true,
      false,
      false,
    ]);
    for (const { seconds, policy_age: age, step_seconds: total } of records) {
      if (age === 0) expect(total).toBeGreaterThanOrEqual(seconds.rollout!);
      expect(seconds.sync).toBeLessThan(0.5 * total);
    }
  });

  test('a folder that holds a run is not overwritten', async () => {
    await tinyRun('taken', { steps: 1 });
    await expect(tinyRun('taken', { steps: 1 })).rejects.toMatchObject({ code: 'run-folder-not-empty' });
    await expect(tinyRun('none', {}, { resume: true, folder: at('none') })).rejects.toMatchObject({
      code: 'run-not-found',
    });
  });
});
