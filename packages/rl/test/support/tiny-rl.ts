/** @file Tiny reinforcement learning in this process: a small random model, and a task whose reward it can find. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Executor } from '@quaver/executor';
import { cpuPlugin } from '@quaver/executor-cpu';
import type { Module } from '@quaver/ir';
import { createLlama } from '@quaver/models';
import type { TrainingSession } from '@quaver/train';
import { afterAll } from 'vitest';
import { parseRlConfig } from '../../src/config/config.ts';
import type { RlRecord } from '../../src/loop/records.ts';
import type { RlRunResult } from '../../src/loop/run-events.ts';
import { type RlRunOptions, readRlRecords, rlRun } from '../../src/node/rl-run.ts';
import type { Reward, RlResponse, RlTask } from '../../src/tasks/environment.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'quaver-rl-'));
/** One thread of native code; two of WebAssembly; sums in any order. */
export const executor: Executor = await cpuPlugin.open({ threads: 1 });
export const webAssembly: Executor = await cpuPlugin.open({ device: 'wasm', threads: 2 });
const fast = await cpuPlugin.open({ threads: 1, reduction: 'fast' });
afterAll(async () => {
  await executor[Symbol.asyncDispose]();
  await fast[Symbol.asyncDispose]();
  await webAssembly[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

export const at = (name: string): string => path.join(folder, name);

const tokenizerFile = (name: string) =>
  readFileSync(new URL(`../../../model-arithmetic/tokenizer/${name}`, import.meta.url));

export const tinyModel: Module = createLlama(
  {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: 384,
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 3,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 32,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: false,
    eos_token_id: 0,
  },
  {
    seed: 1,
    files: new Map(['tokenizer.json', 'tokenizer_config.json'].map((name) => [name, tokenizerFile(name)] as const)),
  },
);

/** A response is worth the share of its tokens that are even: half of it by chance, and easy to learn. */
export const evenTokens = ({ tokens }: RlResponse): Reward => {
  const reward = tokens.filter((token) => token % 2 === 0).length / tokens.length;
  return { status: 'ok', reward, correct: reward > 0.75 };
};

/** A task in this thread. */
export function taskOf(verify: (response: RlResponse, problem: string) => Reward = evenTokens): RlTask {
  const problem = (split: string) => (index: number) => ({
    id: `${split} ${index}`,
    messages: [{ role: 'user' as const, content: `${index} + 1 = ?` }],
    data: null,
  });
  return {
    problems: async (first, count) => Array.from({ length: count }, (_, i) => problem('train')(first + i)),
    heldOut: async (count) => Array.from({ length: count }, (_, i) => problem('held-out')(i)),
    verify: async ({ id }, response) => verify(response, id),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

export type Changes = Readonly<Record<string, unknown>>;

export function tinyConfig(changes: Changes = {}) {
  return parseRlConfig({
    model: 'tiny.qvr',
    task: { name: 'even' },
    recipe: 'bf16',
    steps: 3,
    rollout: { prompts: 4, samples: 4, max_new_tokens: 12, max_sequences: 8, cache_tokens: 512 },
    batch: { tokens: 256 },
    schedule: { decay: 'constant', peak: 1e-3 },
    checkpoint: { every: 1 },
    ...changes,
  });
}

export interface TinyRun {
  readonly result: RlRunResult;
  readonly records: readonly RlRecord[];
}

export async function tinyRun(
  name: string,
  changes: Changes = {},
  options: Partial<RlRunOptions> = {},
  finish?: (session: TrainingSession) => Promise<void>,
): Promise<TinyRun> {
  const config = tinyConfig(changes);
  const run = {
    ...{ config, module: tinyModel, task: taskOf(), executor, folder: at(name) },
    generationExecutor: config.mode === 'split' ? fast : undefined,
    ...options,
  };
  const result = await rlRun(run, finish);
  return { result, records: await readRlRecords(at(name)) };
}
