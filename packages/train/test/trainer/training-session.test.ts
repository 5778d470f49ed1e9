/** @file A session's steps: errors leave nothing behind, histories and seeds are those of the run. */
import type { Executor } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { afterAll, expect, test } from 'vitest';
import { sgd, TrainingSession, type TrainingSessionOptions } from '../../src/index.ts';
import { batchOf } from './loss-batches.ts';
import { stochasticRecipe } from './stochastic-recipe.ts';
import { tinyLlama } from './tiny-run.ts';

const cpu = await cpuPlugin.open({ threads: 1 });
afterAll(() => cpu[Symbol.asyncDispose]());

const plain = sgd();
const open = (options: Partial<TrainingSessionOptions> = {}, executor = cpu) =>
  TrainingSession.open(tinyLlama(), executor, { recipe: 'bf16', optimizer: () => plain, ...options });

const [first, second] = [batchOf(2, 16), batchOf(2, 16, 7907)];
const tooLong = batchOf(1, 65);

test('a step that fails among its micro-batches leaves no gradients behind', async () => {
  await using clean = await open();
  await using failed = await open();
  await expect(failed.step([first, tooLong], 0.1)).rejects.toMatchObject({ code: 'session-symbol-range' });
  const aborted = failed.step([first, second], 0.1, { signal: AbortSignal.abort() });
  await expect(aborted).rejects.toMatchObject({ code: 'aborted' });
  expect(failed.appliedSteps).toBe(0);
  const { seconds: _, ...expected } = await clean.step([second], 0.1);
  const { seconds: __, ...found } = await failed.step([second], 0.1);
  expect(found).toEqual(expected);
  expect(found.gradNorm).toBeGreaterThan(0);
});

/** The executor, whose calls fail as long as `fails` says. */
function failing(executor: Executor, fails: () => boolean): Executor {
  return new Proxy(executor, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (name === 'submit' && fails()) throw new Error('the device is lost');
        return value.apply(target, args);
      };
    },
  });
}

test('a session whose step can neither be ended nor taken back takes no more of them', async () => {
  let lost = false;
  await using session = await open(
    {},
    failing(cpu, () => lost),
  );
  await session.step([first], 0.1);
  lost = true;
  await expect(session.step([first], 0.1)).rejects.toThrow('the device is lost');
  lost = false;
  await expect(session.step([first], 0.1)).rejects.toMatchObject({ code: 'training-session-broken' });
});

test.each([Number.NaN, Number.POSITIVE_INFINITY, -1])(
  'a rate of %d is refused, and nothing has moved',
  async (rate) => {
    await using session = await open();
    const { loss } = await session.evaluate([first]);
    await expect(session.step([first], rate)).rejects.toMatchObject({ code: 'training-rate' });
    expect((await session.evaluate([first])).loss).toBe(loss);
  },
);

test('nothing counts in the targets', async () => {
  await using session = await open();
  const none = { ...first, mask: new Float32Array(first.mask.length) };
  const error = { code: 'training-no-targets', hint: expect.stringContaining('loss mask') };
  await expect(session.step([none, none], 0.1)).rejects.toMatchObject(error);
  await expect(session.evaluate([none])).rejects.toMatchObject(error);
  // One micro-batch that counts is enough.
  expect((await session.step([none, first], 0.1)).targets).toBe(32);
});

/** The states of delayed scales. */
async function histories(session: TrainingSession): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const { name, dtype } of session.states) {
    if (dtype === 'f32') found.set(name, new Float32Array((await session.readState(name)).slice().buffer));
  }
  return found;
}

test('histories of scales are filled by all micro-batches of the first step', async () => {
  const filled = async (...batches: (typeof first)[]) => {
    await using session = await open({ recipe: 'fp8-delayed' });
    await session.fillHistories(batches, { total: 64 });
    return await histories(session);
  };
  const [a, b, both] = [await filled(first), await filled(second), await filled(first, second)];
  expect(both.size).toBeGreaterThan(0);
  for (const [name, values] of both) {
    expect(values, name).toEqual(values.map((_, i) => Math.max(a.get(name)![i]!, b.get(name)![i]!)));
  }
  expect([...both]).not.toEqual([...a]);
  expect([...both]).not.toEqual([...b]);
});

test('a first step fills the histories itself, with the same bits; later nothing fills them', async () => {
  await using itself = await open({ recipe: 'fp8-delayed' });
  await using before = await open({ recipe: 'fp8-delayed' });
  await before.fillHistories([first, second]);
  for (const session of [itself, before]) await session.step([first, second], 0.1);
  const expected = await histories(itself);
  expect(await histories(before)).toEqual(expected);
  await before.fillHistories([second]);
  expect(await histories(before)).toEqual(expected);
});

test('an evaluation before the first step has the scales of the step', async () => {
  await using bf16 = await open();
  await using delayed = await open({ recipe: 'fp8-delayed' });
  await delayed.fillHistories([first]);
  const expected = (await bf16.evaluate([first])).loss;
  const { loss } = await delayed.evaluate([first]);
  expect(Math.abs(loss / expected - 1)).toBeLessThan(0.01);
  // In the step itself the scales are the same: so is the loss.
  expect((await delayed.step([first], 0.1)).loss).toBe(loss);
});

test('the seed is that of stochastic rounding', async () => {
  const norms = async (seed: number) => {
    await using session = await open({ recipe: stochasticRecipe(), seed });
    const found: number[] = [];
    for (let step = 0; step < 3; step++) found.push((await session.step([first], 0)).gradNorm);
    return found;
  };
  const [zero, one] = [await norms(0), await norms(1)];
  expect(await norms(0)).toEqual(zero);
  // Not the numbers of the other seed a step later either.
  expect(new Set([...zero, ...one]).size).toBe(6);
});
