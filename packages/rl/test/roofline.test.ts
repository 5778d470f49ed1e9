import { findFunction, functionFlops, GraphBuilder } from '@quaver/ir';
import { expect, test } from 'vitest';
import { policyOptions } from '../src/config/policy-options.ts';
import { Learner } from '../src/loop/learner.ts';
import type { RlRecord } from '../src/loop/records.ts';
import { Policy } from '../src/policy/policy.ts';
import { measureLimits } from '../src/roofline/limits.ts';
import { rooflineOf, rooflineText } from '../src/roofline/roofline.ts';
import { WorkMeter } from '../src/roofline/work.ts';
import { executor, tinyConfig, tinyModel } from './support/tiny-rl.ts';

test('the operations of a function are those of its nodes at the given sizes', () => {
  const g = new GraphBuilder('main');
  const [x, w] = [g.input('x', 'f32', ['B', 64]), g.input('w', 'f32', [32, 64])];
  const y = g.op('dot_general', [x, w], { lhs_contract: [1], rhs_contract: [1] });
  g.output('z', g.op('add', [y, y]));
  expect(functionFlops(g.finish(), { B: 5 })).toBe(5 * (2 * 32 * 64 + 32));
});

test('work grows with tokens and context, and the weights are read by every call', async () => {
  const config = tinyConfig({ recipe: 'bf16' });
  await using learner = new Learner(config);
  await using policy = await Policy.open(tinyModel, executor, policyOptions(config, learner.objective));
  const { module } = policy.training;
  const meter = new WorkMeter(module, 16);
  const calls = [{ prefillCalls: 1, decodeCalls: 3, promptTokens: 0 }] as never;
  const one = meter.rollouts([{ prompt: [1, 2], tokens: [3, 4, 5, 6] }], calls);
  // Three layers of hidden size 64: two heads of 32 with one KV head, a feed-forward part of 128; a vocabulary of 384.
  const weights = 3 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128) + 64 * 384;
  const attention = 3 * 4 * 2 * 32 * 16;
  expect(one.flops).toBeGreaterThan(4 * (2 * weights + attention));
  expect(one.flops).toBeLessThan(4 * 1.1 * (2 * weights + attention));
  // BF16 weights; keys and values of the context, 2 + 4/2 tokens on the mean, for each of the four.
  const cache = 3 * 2 * 32 * 2;
  const tables = one.bytes - 4 * 2 * weights - 4 * 4 * cache;
  expect(tables).toBeGreaterThanOrEqual(0);
  expect(tables).toBeLessThan(4 * 2 * 384 * 64 + 4 * 4 * 64 * 32 * 2 + 4 * 4 * 64 * 8);
  const two = meter.rollouts(
    Array.from({ length: 2 }, () => ({ prompt: [1, 2], tokens: [3, 4, 5, 6] })),
    calls,
  );
  expect(two.flops).toBe(2 * one.flops);
  expect(two.bytes - one.bytes).toBe(4 * 4 * cache);
  const batch = { rows: 2, rowTokens: 16 } as never;
  expect(meter.training('backward', [batch]).flops).toBeGreaterThan(2.5 * meter.training('loss', [batch]).flops);
  expect(meter.training('loss', [batch, batch]).flops).toBe(
    2 * functionFlops(findFunction(module, 'loss')!, { B: 2, T: 16 }),
  );
});

test('the nearer limit binds, and none where both are far', () => {
  const limits = { flops_per_s: 100e9, bytes_per_s: 10e9 };
  const record = (rollout_gbyte: number, train_gflop: number) =>
    ({
      rollout_gflop: 1,
      rollout_gbyte,
      train_gflop,
      train_gbyte: 0,
      seconds: { rollout: 1, forward_backward: 2, logprobs: 2 },
    }) as unknown as RlRecord;
  const { phases } = rooflineOf(limits, [record(6, 200), record(8, 240)]);
  expect(phases).toEqual([
    { phase: 'rollouts', flops_per_s: 1e9, bytes_per_s: 7e9, flops_share: 0.01, bytes_share: 0.7, bound: 'memory' },
    { phase: 'training', flops_per_s: 55e9, bytes_per_s: 0, flops_share: 0.55, bytes_share: 0, bound: 'arithmetic' },
  ]);
  expect(rooflineOf(limits, [record(1, 4)]).phases.map(({ bound }) => bound)).toEqual(['neither', 'neither']);
  expect(rooflineOf(limits, [record(20, 4)]).phases[0]).toMatchObject({ bytes_share: 2, bound: 'unknown' });
  expect(rooflineText({ limits, phases })).toContain(
    'rollouts 1.00 GFLOP/s (1 %) and 7.00 GB/s (70 %), bound by memory',
  );
});

test('limits are measured on any executor', async () => {
  const { flops_per_s: flops, bytes_per_s: bytes } = await measureLimits(executor);
  expect(flops).toBeGreaterThan(1e8);
  expect(bytes).toBeGreaterThan(1e8);
});
