/** @file Tiny trainings in this process, on a model from a configuration and a real tokenizer. */
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cpuPlugin } from '@quaver/executor-cpu';
import type { Module, Parameter } from '@quaver/ir';
import { createLlama } from '@quaver/models';
import type { QuaverError } from '@quaver/numerics';
import { afterAll } from 'vitest';
import { parseTrainConfig, type TrainConfig } from '../../src/index.ts';
import { openTrainingCheckpoint, type TrainRunOptions, type TrainRunResult, trainRun } from '../../src/node.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'quaver-trainer-'));
const executor = await cpuPlugin.open({ threads: 1 });
afterAll(async () => {
  await executor[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

export const at = (name: string): string => path.join(folder, name);

const tokenizerFile = (name: string) =>
  readFileSync(new URL(`../../../model-arithmetic/tokenizer/${name}`, import.meta.url));

/** Two layers; the tokenizer has 301 tokens, one for each byte, digit and word of small problems. */
export function tinyLlama(changes: Readonly<Record<string, unknown>> = {}, withTokenizer = true): Module {
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: 384,
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 32,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
    eos_token_id: 0,
    ...changes,
  };
  const files = ['tokenizer.json', 'tokenizer_config.json'].map((name) => [name, tokenizerFile(name)] as const);
  return createLlama(config, { seed: 1, ...(withTokenizer ? { files: new Map(files) } : {}) });
}

/** The module with other bytes of one parameter. */
export function withParameter(module: Module, name: string, change: (values: Float32Array) => void): Module {
  const changed = (parameter: Parameter): Parameter => ({
    ...parameter,
    data: {
      byteLength: parameter.data!.byteLength,
      async read() {
        const bytes = (await parameter.data!.read()).slice();
        change(new Float32Array(bytes.buffer));
        return bytes;
      },
    },
  });
  const parameters = module.parameters.map((parameter) => (parameter.name === name ? changed(parameter) : parameter));
  return { ...module, parameters };
}

/** Conversations about sums. */
export function sums(count: number): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const [a, b] = [(i * 37) % 1009, (i * 7) % 23];
    const messages = [
      { role: 'user', content: `${a} + ${b} = ?` },
      { role: 'assistant', content: `#### ${a + b}` },
    ];
    return `${JSON.stringify({ messages })}\n`;
  });
  return lines.join('');
}

export async function dataFile(name: string, content: string): Promise<string> {
  await writeFile(at(name), content);
  return at(name);
}

const usual = await dataFile('sums.jsonl', sums(100));

export function configOf(changes: Readonly<Record<string, unknown>> = {}): TrainConfig {
  return parseTrainConfig({
    model: 'tiny',
    data: { files: usual, validation: { fraction: 0.1 }, align: 1 },
    recipe: 'bf16',
    steps: 4,
    batch: { rows: 2, tokens: 64 },
    schedule: { peak: 1e-2, warmup: 1 },
    checkpoint: { every: 2 },
    ...changes,
  });
}

/** Trains in a folder of this name. */
export function train(
  name: string,
  config: TrainConfig = configOf(),
  options: Partial<TrainRunOptions> = {},
): Promise<TrainRunResult> {
  return trainRun({ config, module: tinyLlama(), executor, folder: at(name), ...options });
}

/** The code, message and the rest of what a run fails with. */
export async function failure(run: Promise<unknown>) {
  try {
    await run;
  } catch (error) {
    const { code, message, hint, where } = error as QuaverError;
    return { code, message, hint, where };
  }
  throw new Error('it did not fail');
}

export async function records(name: string): Promise<Readonly<Record<string, number>>[]> {
  const text = await readFile(path.join(at(name), 'metrics.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** The parameters of a checkpoint as f32. */
export async function weightsOf(name: string, step: number): Promise<Map<string, Float32Array>> {
  const checkpoint = await openTrainingCheckpoint(at(name), step);
  const weights = new Map<string, Float32Array>();
  for (const [key, tensor] of checkpoint.parameters) {
    weights.set(key, new Float32Array((await tensor.read()).slice().buffer));
  }
  await checkpoint.close();
  return weights;
}
