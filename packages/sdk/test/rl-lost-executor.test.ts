import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DeviceLost, Executor, ExecutorPlugin } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { modelPath } from '@quaver/model-arithmetic/node';
import { parseRlConfig, type RlEvent } from '@quaver/rl';
import { afterAll, expect, test } from 'vitest';
import { rlModel } from '../src/node/rl-model.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'quaver-lost-'));
afterAll(() => rm(folder, { recursive: true }));

/** One that is lost when so many calls were waited for; nothing works on it after that. */
function losing(inner: Executor, calls: number): Executor {
  const { promise: lost, resolve } = Promise.withResolvers<DeviceLost>();
  let left = calls;
  const wait: Executor['wait'] = async (fence) => {
    if (left-- > 0) return inner.wait(fence);
    resolve({ reason: 'it was unplugged' });
    throw new Error('the device does not answer');
  };
  return new Proxy(inner, {
    get(target, name) {
      if (name === 'wait') return wait;
      if (name === 'lost') return lost;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** The name of an executor whose first openings are lost after so many calls. */
async function executorLosing(...calls: number[]): Promise<string> {
  const remaining = [...calls];
  const plugin: ExecutorPlugin = {
    ...cpuPlugin,
    id: 'losing',
    listDevices: () => cpuPlugin.listDevices(),
    open: async (options) => losing(await cpuPlugin.open(options), remaining.shift() ?? Number.POSITIVE_INFINITY),
  };
  // A file, because executors are opened by name; what it exports is of this thread.
  Object.assign(globalThis, { losingPlugin: plugin });
  const file = path.join(folder, 'losing.mjs');
  await writeFile(file, 'export default new Proxy({}, { get: (_, name) => globalThis.losingPlugin[name] });\n');
  return file;
}

const config = parseRlConfig({
  model: modelPath(),
  task: { name: 'arithmetic', difficulties: [1] },
  recipe: 'fp8-block',
  kv_cache: 'fp8',
  steps: 4,
  rollout: { prompts: 4, samples: 4, max_new_tokens: 16, max_sequences: 16, cache_tokens: 2048 },
  optimizer: { name: 'adamw' },
  schedule: { decay: 'constant', peak: 1e-4, warmup: 0 },
  checkpoint: { every: 2 },
});

async function run(name: string, executor: string) {
  const events: RlEvent[] = [];
  const result = await rlModel({
    ...{ config, executor, folder: path.join(folder, name), threads: 1 },
    onEvent: (event) => events.push(event),
  });
  const lost = events.flatMap((event) => (event.phase === 'lost' ? [event] : []));
  return { lost, parameters: result.parameters_sha256 };
}

const whole = await run('whole', 'cpu');

test.each([
  ['the first rollouts', 3, 0],
  ['rollouts after a checkpoint', 62, 2],
])('an executor that is lost in %s is opened again, and the run ends with the same bits', async (name, calls, step) => {
  const { lost, parameters } = await run(name, await executorLosing(calls));
  expect(lost).toMatchObject([{ step, reason: 'it was unplugged' }]);
  expect(parameters).toBe(whole.parameters);
});

test('an executor that is lost again and again ends the run, which can be gone on with', async () => {
  const executor = await executorLosing(3, 3);
  await expect(run('twice', executor)).rejects.toMatchObject({ code: 'rollout-executor-failed' });
  const result = await rlModel({ config, folder: path.join(folder, 'twice'), resume: true, threads: 1 });
  expect(result.parameters_sha256).toBe(whole.parameters);
});
