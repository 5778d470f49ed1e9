import { type ExecutorPlugin, referencePlugin, Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import { describe, expect, test } from 'vitest';
import { type PerplexityProgress, perplexity } from '../src/index.ts';
import { goldenLogprob, loadTiny, type Tiny, tinyModels } from './support/tiny-models.ts';
import { WatchedExecutor } from './support/watched-executor.ts';

/** Mean of -log p over the golden float64 logits. */
function goldenNll({ tokens, golden }: Tiny): number {
  const targets = tokens.slice(1);
  return targets.reduce((sum, token, i) => sum - goldenLogprob(golden[i]!, token), 0) / targets.length;
}

describe.each(tinyModels)('%s', (name) => {
  test('agrees with float64', async () => {
    const tiny = await loadTiny(name);
    await using executor = await cpuPlugin.open();
    await using session = await Session.open(tiny.module, executor, { functions: ['score'] });
    const expected = goldenNll(tiny);
    const found = await perplexity(session, tiny.tokens);
    expect(found.tokens).toBe(19);
    expect(Math.abs(found.nll - expected)).toBeLessThan(1e-4);
    expect(Math.abs(found.perplexity / Math.exp(expected) - 1)).toBeLessThan(1e-4);
  });
});

async function open(plugin: ExecutorPlugin, context?: number) {
  const tiny = await loadTiny('smollm2', context);
  const executor = new WatchedExecutor(await plugin.open());
  return { ...tiny, executor, session: await Session.open(tiny.module, executor, { functions: ['score'] }) };
}

test('the CPU and the reference executor give the same number', async () => {
  const [cpu, reference] = [await open(cpuPlugin), await open(referencePlugin())];
  const found = await perplexity(cpu.session, cpu.tokens);
  expect(await perplexity(reference.session, reference.tokens)).toEqual(found);
});

test('windows start without a past, and a token alone in the last one is not predicted', async () => {
  const { executor, session, tokens } = await open(cpuPlugin);
  const parts = [tokens.slice(0, 9), tokens.slice(9, 18)];
  const alone = await Promise.all(parts.map((part) => perplexity(session, part)));
  for (const length of [18, 19]) {
    const progress: PerplexityProgress[] = [];
    const found = await perplexity(session, tokens.slice(0, length), {
      window: 9,
      onProgress: (p) => progress.push(p),
    });
    expect(found.tokens).toBe(16);
    expect(found.nll).toBeCloseTo((alone[0]!.nll + alone[1]!.nll) / 2, 12);
    expect(progress).toEqual([
      { phase: 'perplexity', scoredTokens: 8, totalTokens: 16 },
      { phase: 'perplexity', scoredTokens: 16, totalTokens: 16 },
    ]);
  }
  expect(executor.liveStates.size).toBe(0);
});

test('chunks inside a window see its past: the sum does not depend on them', async () => {
  const { executor, session, tokens } = await open(cpuPlugin, 512);
  const long = Array.from({ length: 300 }, (_, i) => tokens[(i * i) % 20]!);
  const whole = await Session.open(session.module, executor, { functions: ['logprobs'] });
  const i32 = (values: readonly number[]) => ({
    type: { dtype: 'i32' as const, shape: [1, values.length] },
    data: Int32Array.from(values),
  });
  const { logprobs } = await whole.run('logprobs', { tokens: i32(long.slice(0, -1)), targets: i32(long.slice(1)) });
  let sum = 0;
  for (const logprob of logprobs!.data) sum -= logprob;
  expect(await perplexity(session, long)).toMatchObject({ tokens: 299, nll: sum / 299 });
  expect(executor.calls.filter((name) => name === 'score')).toHaveLength(3);
});

test('a window beyond the context is cut to it', async () => {
  const { session, tokens } = await open(cpuPlugin, 10);
  expect(await perplexity(session, tokens, { window: 500 })).toEqual(await perplexity(session, tokens, { window: 10 }));
});

test.each<[string, readonly number[], object, string]>([
  ['no token', [], {}, 'text-too-short'],
  ['one token', [5], {}, 'text-too-short'],
  ['a window of one', [5, 6, 7], { window: 1 }, 'perplexity-window'],
  ['a window of NaN', [5, 6, 7], { window: Number.NaN }, 'perplexity-window'],
  ['a window of 2.5', [5, 6, 7], { window: 2.5 }, 'perplexity-window'],
  ['an id beyond the vocabulary', [5, 97, 7], {}, 'gather-index'],
  ['a signal that has come', [5, 6, 7], { signal: AbortSignal.abort() }, 'aborted'],
])('%s is an error', async (_, tokens, options, code) => {
  const { executor, session } = await open(cpuPlugin);
  await expect(perplexity(session, tokens, options)).rejects.toMatchObject({ code });
  expect(executor.liveStates.size).toBe(0);
});

test('a log-probability that is not a number is an error', async () => {
  const { executor, session, tokens } = await open(cpuPlugin);
  executor.meddle = (_fn, _output, _call, values) => {
    values[4] = Number.NaN;
  };
  await expect(perplexity(session, tokens)).rejects.toMatchObject({ code: 'logprobs-not-finite' });
});
