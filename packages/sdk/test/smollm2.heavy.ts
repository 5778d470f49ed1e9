/**
 * @file The real model, SmolLM2-135M-Instruct, from its download to text. Expected logits and the greedy continuation are
 * float64 goldens of an independent implementation (packages/models/test/data/ORIGIN.md).
 */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { perplexity } from '@quaver/generate';
import type { HostTensor, Module } from '@quaver/ir';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  checkParity,
  compileModel,
  generateText,
  importModelFile,
  openSession,
  pullModel,
  readModule,
  saveModule,
} from '../src/node.ts';

interface Golden {
  readonly tokens: readonly number[];
  readonly text: string;
  readonly positions: readonly { readonly argmax: number; readonly top: readonly (readonly [number, number])[] }[];
  readonly greedy?: readonly { readonly token: number; readonly logprob: number }[];
}

const goldens = new URL('../../models/test/data/smollm2/', import.meta.url);
const golden = (name: string): Golden => JSON.parse(readFileSync(new URL(`${name}.json`, goldens), 'utf8'));
const prose = readFileSync(new URL('../../../examples/data/prose.txt', import.meta.url), 'utf8');

// Minutes on a busy machine: a limit here is against hanging, not a measure of speed.
vi.setConfig({ testTimeout: 900_000, hookTimeout: 900_000 });

const folder = mkdtempSync(path.join(tmpdir(), 'quaver-smollm2-'));
const file = path.join(folder, 'smollm2.fp8.qvr');

let imported: Module;
let compiled: Module;
let linearRatio = 0;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const { path: checkpoint } = await pullModel('smollm2-135m-instruct');
  const opened = await importModelFile(checkpoint);
  closers.push(() => opened.close());
  imported = opened.module;
  const { module, report } = await compileModel(imported, { recipe: 'fp8-block', strict: true });
  linearRatio = report.linear_weights!.ratio;
  await saveModule(module, file);
  const saved = await readModule(file);
  closers.push(() => saved.close());
  compiled = saved;
});

afterAll(async () => {
  for (const close of closers) await close();
  rmSync(folder, { recursive: true, force: true });
});

const i32 = (shape: number[], data: readonly number[]): HostTensor => ({
  type: { dtype: 'i32', shape },
  data: Int32Array.from(data),
});

describe('the f32 graph', () => {
  it('agrees with float64: every argmax, the 16 best of every position, the whole last row', async () => {
    await using model = await openSession(imported, { recipe: 'f32', functions: ['prefill'] });
    for (const name of ['chat', 'prose', 'code']) {
      const { tokens, positions } = golden(name);
      const bytes = readFileSync(new URL(`${name}.last.f32`, goldens));
      const expected = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
      const state = model.session.createState({ B: 1, C: tokens.length });
      for (const [at, { argmax, top }] of positions.entries()) {
        const inputs = { tokens: i32([1, 1], [tokens[at]!]), position: i32([1], [at]), last: i32([1], [0]) };
        const { logits } = await model.session.run('prefill', inputs, { state, outputs: ['logits'] });
        const row = logits!.data as Float32Array;
        expect(row.indexOf(row.reduce((most, value) => Math.max(most, value))), `${name} at ${at}`).toBe(argmax);
        for (const [token, value] of top) expect(Math.abs(row[token]! - value)).toBeLessThan(1e-3);
        if (at < tokens.length - 1) continue;
        const worst = row.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
        expect(worst, name).toBeLessThan(1e-3);
      }
      state.dispose();
    }
  });

  it('continues the chat as float64 does, with its log-probabilities', async () => {
    await using model = await openSession(imported, { recipe: 'f32', functions: ['prefill', 'decode'] });
    const { text, greedy } = golden('chat');
    for await (const event of generateText(model, { prompt: text, maxNewTokens: greedy!.length })) {
      if (event.type !== 'end') continue;
      expect(event.tokens).toEqual(greedy!.map(({ token }) => token).slice(0, event.tokens.length));
      event.logprobs.forEach((logprob, i) => {
        expect(Math.abs(logprob - greedy![i]!.logprob)).toBeLessThan(1e-3);
      });
    }
  });
});

describe('the FP8 graph', () => {
  it('has linear weights of at most 0.56 of their BF16 size, in the file too', () => {
    expect(linearRatio).toBeLessThanOrEqual(0.56);
    const bytes = compiled.parameters.reduce((sum, { data }) => sum + data!.byteLength, 0);
    expect(statSync(file).size).toBeLessThan(bytes * 1.02);
  });

  it('predicts prose nearly as well as BF16: perplexity ratio at most 1.02', async () => {
    const measure = async (module: Module) => {
      await using model = await openSession(module, { recipe: 'bf16', functions: ['score'] });
      return await perplexity(model.session, (await model.tokenizer()).encode(prose));
    };
    const [bf16, fp8] = [await measure(imported), await measure(compiled)];
    expect(fp8.tokens).toBeGreaterThan(2000);
    expect(fp8.perplexity / bf16.perplexity).toBeLessThanOrEqual(1.02);
    expect(fp8.nll).not.toBe(bf16.nll);
  });

  it('gives the same bits in generation and training, with a BF16 and with an FP8 cache', async () => {
    const { report, promised } = await checkParity(compiled, { tokens: 64 });
    expect(promised).toBe(true);
    expect(report).toMatchObject({ mismatched_tokens: 0, max_abs_logprob_diff: 0, token_mult_prob_error: 1 });
    expect(new Set(report.cases.map((item) => item.kv_cache))).toEqual(new Set(['bf16', 'fp8']));
  });

  it('gives the same tokens and log-probabilities for the same seed, and others for another', async () => {
    await using model = await openSession(compiled, { functions: ['prefill', 'decode'] });
    const sample = async (seed: number) => {
      const request = { prompt: 'The sea was', temperature: 1, seed, maxNewTokens: 24 };
      for await (const event of generateText(model, request)) if (event.type === 'end') return event;
      throw new Error('the generation did not end');
    };
    const [first, again, other] = [await sample(1), await sample(1), await sample(2)];
    expect([again.tokens, again.logprobs]).toEqual([first.tokens, first.logprobs]);
    expect(other.tokens).not.toEqual(first.tokens);
  });
});
