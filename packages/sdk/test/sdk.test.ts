import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  checkParity,
  compileModel,
  evaluatePerplexity,
  exportHfFp8,
  type GenerateEvent,
  generateText,
  type ImportedModelFile,
  importModelFile,
  isCompiled,
  type Module,
  openExecutor,
  openSession,
  readModule,
  recipeOf,
  saveModule,
  streamText,
} from '../src/node.ts';
import { temporaryFolder, tinyCheckpoint } from './tiny-checkpoint.ts';

const folder = temporaryFolder();
const at = (name: string) => path.join(folder, name);
let imported: ImportedModelFile;
let compiled: Module;

beforeAll(async () => {
  imported = await importModelFile(tinyCheckpoint(folder));
  compiled = (await compileModel(imported.module)).module;
});

afterAll(async () => {
  await imported.close();
  rmSync(folder, { recursive: true, force: true });
});

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe('modules', () => {
  it('are named after their folder, or as asked', async () => {
    expect(imported.module.name).toBe('smollm2');
    await using other = await importModelFile(tinyCheckpoint(folder, 'qwen3'), { name: 'mine', context: 16 });
    expect(other.module.name).toBe('mine');
    expect(other.module.metadata['model.context']).toBe('16');
  });

  it('say whether and how they were compiled', () => {
    expect([isCompiled(imported.module), isCompiled(compiled)]).toEqual([false, true]);
    expect(recipeOf(imported.module)).toBeUndefined();
    expect(recipeOf(compiled)?.name).toBe('fp8-block');
  });

  it('survive a file with every byte', async () => {
    await saveModule(compiled, at('model.qvr'));
    await using read = await readModule(at('model.qvr'));
    expect(read.parameters.map(({ name, type }) => ({ name, type }))).toEqual(
      compiled.parameters.map(({ name, type }) => ({ name, type })),
    );
    for (const [i, { data }] of read.parameters.entries()) {
      expect(Buffer.from(await data!.read())).toEqual(Buffer.from(await compiled.parameters[i]!.data!.read()));
    }
  });
});

describe('text', () => {
  it('streams in pieces that add up to the text of the last event, also when its end was held back', async () => {
    await using model = await openSession(compiled, { functions: ['prefill', 'decode'] });
    const request = { prompt: 'Once upon a time', maxNewTokens: 24, temperature: 1, seed: 3, eosTokenIds: [] };
    const { text } = (await collect<GenerateEvent>(generateText(model, request))).at(-1) as { text: string };
    expect(text.length).toBeGreaterThan(12);
    // The last character might begin the stop string, so it becomes certain only when the generation ends.
    const pieces = await collect(streamText(model, { ...request, stop: [`${text.at(-1)} never there`] }));
    expect(pieces.length).toBeGreaterThan(4);
    expect(pieces.join('')).toBe(text);
  });

  it('continues a conversation where its template ends', async () => {
    await using model = await openSession(compiled, { functions: ['prefill', 'decode'] });
    const messages = [{ role: 'user', content: 'Hi' }] as const;
    const chat = await collect(streamText(model, { messages, maxNewTokens: 8 }));
    const plain = await collect(streamText(model, { prompt: 'user: Hi\nassistant: ', maxNewTokens: 8 }));
    expect(chat).toEqual(plain);
  });

  it('refuses both kinds of prompt at once', async () => {
    await using model = await openSession(compiled, { functions: ['prefill', 'decode'] });
    const request = { prompt: 'x', messages: [] } as unknown as { prompt: string };
    await expect(collect(generateText(model, request))).rejects.toMatchObject({ code: 'prompt-ambiguous' });
  });
});

describe('sessions', () => {
  it('compile what is not compiled, with bf16 unless told otherwise', async () => {
    await using baseline = await openSession(imported.module, { functions: ['score'] });
    expect(baseline.recipe.name).toBe('bf16');
    await using chosen = await openSession(imported.module, { functions: ['score'], recipe: 'fp8-block' });
    await using direct = await openSession(compiled, { functions: ['score'] });
    const text = 'The quick brown fox';
    const score = (model: typeof direct) => evaluatePerplexity(model, text);
    expect((await score(chosen)).nll).toBe((await score(direct)).nll);
    expect((await score(baseline)).nll).not.toBe((await score(direct)).nll);
  });

  it('open the executor with threads and an order of sums, but change none that is open', async () => {
    await using model = await openSession(compiled, { functions: ['score'], threads: 3, reduction: 'fast' });
    expect(model.executor.device.details.threads).toBe(3);
    expect(model.executor.capabilities.rowInvariant).toBe(false);
    const { executor } = model;
    const refused = openSession(compiled, { executor, functions: ['score'], threads: 2 });
    await expect(refused).rejects.toMatchObject({ code: 'executor-option' });
  });

  it('leave an executor that was given to them open', async () => {
    const executor = await openExecutor('reference');
    for (let i = 0; i < 2; i++) {
      const model = await openSession(compiled, { executor, functions: ['score'] });
      expect((await evaluatePerplexity(model, 'abc')).tokens).toBe(2);
      await model[Symbol.asyncDispose]();
    }
    await executor[Symbol.asyncDispose]();
  });
});

/** An executor that a stranger wrote, in plain JavaScript: every result is zero. */
const strangersPlugin = `
const buffer = (byteLength, usage) => ({ byteLength, usage, dispose() {} });
export default {
  apiVersion: 1,
  id: 'zeros',
  listDevices: async () => [],
  open: async () => ({
    id: 'zeros',
    device: { id: 'zeros', name: 'zeros', details: {} },
    capabilities: { dtypes: {}, maxBufferBytes: 2 ** 32, maxTotalBytes: 2 ** 32, rowInvariant: true, deterministic: true },
    lost: new Promise(() => {}),
    supports: () => ({ ok: true, native: true }),
    compile: async ({ name }) => ({ name, dispose() {} }),
    allocate: buffer,
    upload: async () => {},
    download: async ({ byteLength }) => new Uint8Array(byteLength),
    submit: () => ({ id: 1 }),
    wait: async () => {},
    [Symbol.asyncDispose]: async () => {},
  }),
};`;

describe('executors', () => {
  it('come from a file', async () => {
    writeFileSync(at('zeros.mjs'), strangersPlugin);
    const executor = await openExecutor(at('zeros.mjs'));
    expect(executor.id).toBe('zeros');
    await using model = await openSession(compiled, { executor, functions: ['score'] });
    // Log-probabilities of zero: a perplexity of 1.
    expect((await evaluatePerplexity(model, 'abc')).perplexity).toBe(1);
  });

  it('come from a package that is installed where the program runs', async () => {
    const installed = at('app/node_modules/quaver-executor-zeros');
    mkdirSync(installed, { recursive: true });
    writeFileSync(at('zeros.mjs'), strangersPlugin);
    cpSync(at('zeros.mjs'), path.join(installed, 'index.mjs'));
    writeFileSync(
      path.join(installed, 'package.json'),
      '{"name": "quaver-executor-zeros", "exports": {"import": "./index.mjs"}}',
    );
    const before = process.cwd();
    process.chdir(at('app'));
    try {
      expect((await openExecutor('quaver-executor-zeros')).id).toBe('zeros');
    } finally {
      process.chdir(before);
    }
  });

  it('that do not exist, or are none, are named', async () => {
    await expect(openExecutor('gpu')).rejects.toMatchObject({ code: 'executor-unknown' });
    writeFileSync(at('broken.mjs'), 'export default {');
    await expect(openExecutor(at('broken.mjs'))).rejects.toMatchObject({ code: 'executor-load-failed' });
    writeFileSync(at('other.mjs'), 'export const x = 1;');
    await expect(openExecutor(at('other.mjs'))).rejects.toMatchObject({ code: 'executor-plugin-invalid' });
  });
});

describe('parity', () => {
  it('holds with both caches where the recipe promises it', async () => {
    const { report, promised } = await checkParity(compiled, { tokens: 8 });
    expect(report).toMatchObject({ mismatched_tokens: 0, max_abs_logprob_diff: 0, token_mult_prob_error: 1 });
    expect(new Set(report.cases.map(({ kv_cache }) => kv_cache))).toEqual(new Set(['bf16', 'fp8']));
    expect(promised).toBe(true);
  });

  it('holds for delayed scaling, whose amax histories are state in training too', async () => {
    const { report, promised } = await checkParity(imported.module, { recipe: 'fp8-delayed', tokens: 8 });
    expect([promised, report.mismatched_tokens]).toEqual([true, 0]);
  });

  it('is not promised for scales that depend on other rows', async () => {
    const { promised, why } = await checkParity(imported.module, { recipe: 'fp8-tensor', tokens: 8 });
    expect(promised).toBe(false);
    expect(why).toContain('per tensor');
  });
});

describe('export', () => {
  it('refuses blocks of another shape, and a folder that is not empty', async () => {
    const rows = (await compileModel(imported.module, { recipe: 'fp8-row' })).module;
    await expect(exportHfFp8(rows, at('rows'))).rejects.toMatchObject({ code: 'export-not-fp8-block' });
    await expect(exportHfFp8(compiled, folder)).rejects.toMatchObject({ code: 'output-exists' });
  });

  it('gives an output projection in FP8 a name of its own', async () => {
    const { module } = await compileModel(imported.module, { lmHead: 'fp8' });
    expect(await exportHfFp8(module, at('head'))).toMatchObject({ fp8Weights: 8 });
    await using again = await importModelFile(at('head'));
    expect(again.module.parameters.map(({ name }) => name)).toContain('lm_head.weight');
    expect(again.unused).toEqual([]);
  });
});
