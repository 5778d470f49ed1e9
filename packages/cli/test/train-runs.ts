/** @file Tiny trainings: their configurations, data, and what their folders hold. */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export type Json = Readonly<Record<string, unknown>>;

const tokenizer = fileURLToPath(new URL('../../model-arithmetic/tokenizer', import.meta.url));

/** A Llama of two layers: FP8 recipes quantize the first. */
export const tinyModel: Json = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 384,
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 32,
  hidden_act: 'silu',
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  initializer_range: 0.02,
  eos_token_id: 0,
};

/** Sums as conversations, of several lengths. */
export function sums(count: number): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const [a, b] = [(i * 37) % 1009, (i * 7) % 23];
    const question = { role: 'user', content: `${a} + ${b} = ?` };
    const answer = { role: 'assistant', content: i % 3 === 0 ? `${a} + ${b}\n#### ${a + b}` : `#### ${a + b}` };
    return `${JSON.stringify({ messages: [question, answer] })}\n`;
  });
  return lines.join('');
}

/**
 * Writes a folder with the tokenizer and data, and a configuration whose paths are relative to it.
 * @returns the configuration's path
 */
export function tinyTraining(folder: string, changes: Json = {}, name = 'tiny.json'): string {
  mkdirSync(path.join(folder, 'files'), { recursive: true });
  cpSync(tokenizer, path.join(folder, 'files/tokenizer'), { recursive: true });
  writeFileSync(path.join(folder, 'files/data.jsonl'), sums(120));
  const config = {
    model: { config: tinyModel, tokenizer: 'tokenizer', seed: 1 },
    data: { files: 'data.jsonl', validation: { fraction: 0.1 }, align: 1 },
    recipe: 'fp8-block',
    steps: 24,
    batch: { rows: 2, tokens: 64, accumulate: 2 },
    schedule: { peak: 1e-2, warmup: 2 },
    evaluate: { every: 3, batches: 2 },
    early_stop: { patience: 20 },
    checkpoint: { every: 4, keep_last: 2, keep_best: 1 },
    ...changes,
  };
  const file = path.join(folder, 'files', name);
  writeFileSync(file, JSON.stringify(config));
  return file;
}

/** The records of a run without what a clock measured. */
export function timelessMetrics(run: string): Json[] {
  return readRecords(run).map(({ seconds: _, tokens_per_s: __, ...record }) => record);
}

export function readRecords(run: string): Json[] {
  const file = path.join(run, 'metrics.jsonl');
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Json);
}

/** SHA-256 of every file that does not hold times: checkpoints, the model, the configuration. */
export function fileDigests(run: string): Record<string, string> {
  const files = readdirSync(run, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(run, path.join(entry.parentPath, entry.name)))
    .filter((name) => !/^(events\.out|metrics\.jsonl|report\.html)/.test(name));
  const digest = (name: string) =>
    createHash('sha256')
      .update(readFileSync(path.join(run, name)))
      .digest('hex');
  return Object.fromEntries(files.sort().map((name) => [name, digest(name)]));
}

export const checkpointNames = (run: string): string[] =>
  existsSync(path.join(run, 'checkpoints')) ? readdirSync(path.join(run, 'checkpoints')).sort() : [];
