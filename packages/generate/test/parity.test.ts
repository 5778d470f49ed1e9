import { builtInRecipes, compile, withOptions } from '@quaver/compiler';
import { type ExecutorPlugin, referencePlugin, Session } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import type { Module } from '@quaver/ir';
import { describe, expect, test } from 'vitest';
import { mergeParity, type ParityOptions, type ParityProgress, type ParityReport, parity } from '../src/index.ts';
import { loadTiny, tinyModels } from './support/tiny-models.ts';
import { WatchedExecutor } from './support/watched-executor.ts';

const caseNames = [
  ...['decode/batch-1', 'decode/batch-2', 'decode/batch-3', 'decode/batch-8'],
  ...['prefill/batch-1', 'prefill/batch-3', 'prefill/chunked'],
  ...['score/chunk-1', 'score/chunk-7', 'score/chunk-32'],
  'logprobs/batch-8',
];

const longCases = ['decode/batch-2', 'score/chunk-32'];

async function parityOn(plugin: ExecutorPlugin, module: Module, options: ParityOptions = {}) {
  await using executor = await plugin.open();
  await using session = await Session.open(module, executor);
  return await parity(session, options);
}

/** A perfect report has these numbers and no others. */
async function expectPerfect(plugin: ExecutorPlugin, module: Module, options: ParityOptions): Promise<ParityReport> {
  const report = await parityOn(plugin, module, options);
  const perfect = { mismatched_tokens: 0, max_abs_logprob_diff: 0, token_mult_prob_error: 1 };
  expect(report).toMatchObject(perfect);
  expect(report.cases.map(({ name }) => name)).toEqual(caseNames);
  for (const item of report.cases) {
    expect(item).toMatchObject(perfect);
    if (!item.name.startsWith('prefill')) expect(item.tokens).toBeGreaterThanOrEqual(options.tokens!);
  }
  expect(report.tokens).toBe(report.cases.reduce((sum, { tokens }) => sum + tokens, 0));
  return report;
}

/** In some cases there are, besides 8 sequences of 1…8 tokens and 15 more, the 139 log-probabilities of a long one. */
function expectLong({ cases }: ParityReport): void {
  for (const { name, tokens } of cases) {
    if (!name.startsWith('prefill')) expect(tokens).toBe(8 * 14 + 36 + (longCases.includes(name) ? 139 : 0));
  }
}

describe.each(tinyModels)('%s: generation and training agree bit for bit', (name) => {
  test('in f32, on the CPU', async () => {
    expectLong(await expectPerfect(cpuPlugin, (await loadTiny(name, 256)).module, { tokens: 120, seed: 1 }));
  });

  test.each(['bf16', 'fp8'] as const)('with fp8-block and a KV cache in %s, on the CPU', async (kvCache) => {
    const { module } = await loadTiny(name, 256);
    const compiled = await compile(module, { recipe: withOptions('fp8-block', { kvCache }) });
    expectLong(await expectPerfect(cpuPlugin, compiled.module, { tokens: 120, seed: 2, kvCache }));
  });
});

test('in f32, on the reference', async () => {
  await expectPerfect(referencePlugin(), (await loadTiny('mistral')).module, { tokens: 24 });
});

test('with fp8-block and an FP8 cache, on the reference', async () => {
  const { module } = await loadTiny('smollm2');
  const compiled = await compile(module, { recipe: withOptions('fp8-block', { kvCache: 'fp8' }) });
  await expectPerfect(referencePlugin(), compiled.module, { tokens: 16 });
});

test('a recipe that trains in another precision than it generates in is found out', async () => {
  const { module } = await loadTiny('llama3');
  const compiled = await compile(module, { recipe: builtInRecipes.get('fp8-generate-only')! });
  const report = await parityOn(cpuPlugin, compiled.module, { tokens: 64 });
  const byName = new Map(report.cases.map((item) => [item.name, item]));
  expect(byName.get('logprobs/batch-8')!.mismatched_tokens).toBe(0);
  for (const [name, item] of byName) {
    if (name === 'logprobs/batch-8') continue;
    expect(item.mismatched_tokens).toBeGreaterThan(item.tokens / 2);
    expect(item.token_mult_prob_error).toBeGreaterThan(1);
  }
});

describe('an executor that errs', () => {
  /** Runs parity where `meddle` changes what is brought back. */
  async function found(meddle: WatchedExecutor['meddle']) {
    const { module } = await loadTiny('smollm2', 256);
    const executor = new WatchedExecutor(await cpuPlugin.open());
    const session = await Session.open(module, executor);
    executor.meddle = meddle;
    const report = await parity(session, { tokens: 64, kvCache: 'f32' });
    expect(executor.liveStates.size).toBe(0);
    return report;
  }

  /** Sampling is 64 / 8 tokens after prefixes of up to 8: 15 decodes; then comes decoding at batch 1. */
  const sampling = 15;

  test('in one token of one decode step by a quarter is counted exactly', async () => {
    const report = await found((fn, output, call, values) => {
      if (fn !== 'decode' || output !== 'logprobs' || call !== sampling + 3) return;
      for (let i = 0; i < values.length; i++) values[i]! += 0.25;
    });
    const [first, ...others] = report.cases;
    expect(first).toMatchObject({ name: 'decode/batch-1', mismatched_tokens: 1, kv_cache: 'f32' });
    expect(first!.max_abs_logprob_diff).toBeCloseTo(0.25, 5);
    const expected = (first!.tokens - 1 + Math.exp(first!.max_abs_logprob_diff)) / first!.tokens;
    expect(first!.token_mult_prob_error).toBeCloseTo(expected, 12);
    for (const item of others) expect(item.mismatched_tokens).toBe(0);
    expect(report.mismatched_tokens).toBe(1);
    expect(report.max_abs_logprob_diff).toBe(first!.max_abs_logprob_diff);
    expect(report.token_mult_prob_error).toBeCloseTo(
      (report.tokens - 1 + Math.exp(report.max_abs_logprob_diff)) / report.tokens,
      12,
    );
  });

  test('in the last bit of one token is counted', async () => {
    const report = await found((fn, output, call, values) => {
      if (fn !== 'decode' || output !== 'logprobs' || call !== sampling + 3) return;
      const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
      for (let i = 0; i < bits.length; i++) bits[i]! ^= 1;
    });
    expect(report.mismatched_tokens).toBe(1);
    expect(report.max_abs_logprob_diff).toBeGreaterThan(0);
    expect(report.max_abs_logprob_diff).toBeLessThan(1e-6);
    expect(report.token_mult_prob_error).toBeGreaterThan(1);
  });

  test('in one row of a batch is counted in the cases of that size', async () => {
    const report = await found((fn, _output, _call, values) => {
      // logprobs/batch-8: 8 rows of 15 tokens; the last row has 7 + 8 of them that count.
      if (fn === 'logprobs' && values.length === 8 * 15) values[7 * 15 + 14]! -= 1;
    });
    expect(report.cases.filter(({ mismatched_tokens }) => mismatched_tokens > 0)).toMatchObject([
      { name: 'logprobs/batch-8', mismatched_tokens: 1 },
    ]);
  });

  test('in a prefill that begins late, or with more than 128 keys, is counted in the prefill in pieces', async () => {
    // Before it come 3 prefixes of each of 8 sequences, alone and in threes; its first 12 calls end with token 139.
    const first = 3 * (8 + 3);
    for (const piece of [1, 11]) {
      const report = await found((fn, output, call, values) => {
        if (fn === 'prefill' && output === 'logprobs' && call === first + piece) values.fill(-0.5);
      });
      expect(report.cases.filter(({ mismatched_tokens }) => mismatched_tokens > 0)).toMatchObject([
        // The shorter sequence beside the long one has 8 tokens after its first, in the pieces that end at 5, 6 and 8.
        { name: 'prefill/chunked', mismatched_tokens: piece === 1 ? 2 : 1 },
      ]);
    }
  });

  test('by giving NaN is found out', async () => {
    const report = await found((fn, _output, call, values) => {
      if (fn === 'score' && call === 0) values[0] = Number.NaN;
    });
    expect(report.mismatched_tokens).toBe(1);
    expect(report.max_abs_logprob_diff).toBeNaN();
  });
});

test('the same seed samples the same, and progress is told', async () => {
  const { module } = await loadTiny('llama2');
  const progress: ParityProgress[] = [];
  const report = await parityOn(cpuPlugin, module, {
    tokens: 20,
    seed: 4,
    onProgress: (event) => progress.push(event),
  });
  expect(await parityOn(cpuPlugin, module, { tokens: 20, seed: 4 })).toEqual(report);
  expect(new Set(progress.map((event) => event.case))).toEqual(new Set(['sample', ...caseNames]));
  for (const name of caseNames) {
    expect(progress.filter((event) => event.case === name).at(-1)).toMatchObject({ done: 8, total: 8 });
  }
});

test('a context of a few positions is enough', async () => {
  for (const context of [1, 2, 5, 12]) {
    const { module } = await loadTiny('llama2', context);
    for (const tokens of [8, 64]) await expectPerfect(cpuPlugin, module, { tokens });
  }
});

test.each([0, -1, 1.5, Number.NaN])('parity over %d tokens is refused', async (tokens) => {
  const { module } = await loadTiny('llama2');
  await expect(parityOn(cpuPlugin, module, { tokens })).rejects.toMatchObject({ code: 'parity-tokens' });
});

test('an abort stops it', async () => {
  const { module } = await loadTiny('llama2');
  const controller = new AbortController();
  const options = { tokens: 5000, signal: controller.signal, onProgress: () => controller.abort() };
  await expect(parityOn(cpuPlugin, module, options)).rejects.toMatchObject({ code: 'aborted' });
});

test('reports are merged by their tokens', () => {
  const item = (tokens: number, mismatched_tokens: number, max_abs_logprob_diff: number, error: number) => ({
    ...{ name: 'n', kv_cache: 'c', tokens, mismatched_tokens, max_abs_logprob_diff },
    token_mult_prob_error: error,
  });
  expect(mergeParity([item(30, 3, 0.5, 1.2), item(10, 0, 0, 1)])).toMatchObject({
    tokens: 40,
    mismatched_tokens: 3,
    max_abs_logprob_diff: 0.5,
    token_mult_prob_error: (30 * 1.2 + 10) / 40,
  });
  expect(mergeParity([item(7, 0, 0, 1), item(3, 0, 0, 1)]).token_mult_prob_error).toBe(1);
  expect(() => mergeParity([])).toThrow(expect.objectContaining({ code: 'mismatch-no-tokens' }));
});
