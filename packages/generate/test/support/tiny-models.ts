/** @file The tiny models of @quaver/models, each with float64 logits, made to talk with the fixture tokenizer. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openCheckpoint } from '@quaver/formats/node';
import { type Module, memoryData } from '@quaver/ir';
import { type ImportAssets, importModel } from '@quaver/models';
import { tokenizerConfig, tokenizerJson } from './fixture-tokenizer.ts';

const folder = new URL('../../../models/test/data/tiny/', import.meta.url);

export const tinyModels = ['llama2', 'llama2-linear', 'llama3', 'smollm2', 'qwen2', 'qwen3', 'mistral'] as const;
export type TinyModel = (typeof tinyModels)[number];

export interface Tiny {
  /** f32 graph. */
  readonly module: Module;
  /** 20 token ids. */
  readonly tokens: readonly number[];
  /** float64 logits by position, each of the vocabulary of 97, by an implementation of its own. */
  readonly golden: readonly Float64Array[];
}

/** @param context positions; the models were made with 128, and may be given more */
export async function loadTiny(name: TinyModel, context = 128): Promise<Tiny> {
  const path = fileURLToPath(new URL(`${name}/`, folder));
  const checkpoint = await openCheckpoint(path);
  const { module } = await importModel(checkpoint, withPositions(checkpoint.assets, context), { context });
  const parameters = await Promise.all(
    module.parameters.map(async (parameter) => ({ ...parameter, data: memoryData(await parameter.data!.read()) })),
  );
  await checkpoint.close();
  const json = (value: unknown) => memoryData(new TextEncoder().encode(JSON.stringify(value)));
  const attachments = new Map([
    ['tokenizer.json', json(tokenizerJson)],
    ['tokenizer_config.json', json(tokenizerConfig)],
  ]);
  const tokens = JSON.parse(readFileSync(`${path}tokens.json`, 'utf8')) as number[];
  const file = readFileSync(`${path}logits.f64`);
  const logits = new Float64Array(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
  const vocabulary = logits.length / tokens.length;
  const golden = tokens.map((_, position) => logits.subarray(position * vocabulary, (position + 1) * vocabulary));
  return { module: { ...module, parameters, attachments }, tokens, golden };
}

/** The files of a checkpoint with another `max_position_embeddings`. */
function withPositions({ names, bytes }: ImportAssets, positions: number): ImportAssets {
  return {
    names,
    bytes: async (name) => {
      const file = await bytes(name);
      if (name !== 'config.json' || !file) return file;
      const config = JSON.parse(new TextDecoder().decode(file)) as object;
      return new TextEncoder().encode(JSON.stringify({ ...config, max_position_embeddings: positions }));
    },
  };
}

/** log softmax(logits)[token] in float64. */
export function goldenLogprob(logits: Float64Array, token: number): number {
  const most = Math.max(...logits);
  return logits[token]! - most - Math.log(logits.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

export function goldenArgmax(logits: Float64Array): number {
  return logits.indexOf(Math.max(...logits));
}

/** The 32 bits of each f32. */
export function bits(values: ArrayLike<number>): number[] {
  return [...new Uint32Array(Float32Array.from(values).buffer)];
}
