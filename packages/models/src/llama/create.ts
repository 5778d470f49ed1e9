/** @file A Llama-family model from a configuration alone, with random weights: the beginning of training from scratch. */
import type { Module, Parameter } from '@quaver/ir';
import { fillNormal, QuaverError } from '@quaver/numerics';
import { languageModule } from '../language-module.ts';
import { eosTokenIds, fileAttachments, type ModelFiles, modelFileNames } from '../model-files.ts';
import { invalid, type LlamaConfig, llamaConfigFromHuggingFace } from './config.ts';
import { llamaContext, llamaGraph } from './graph.ts';
import { asBytes, parameter, ropeParameters } from './parameters.ts';
import { type RequiredTensor, requiredTensors } from './tensors.ts';

export interface CreateLlamaOptions {
  /** The same seed and configuration give the same bits on every machine: an integer from 0. */
  readonly seed: number;
  /** Of the module; default the model's family. */
  readonly name?: string;
  /** Positions the module supports; default and limit the configuration's `max_position_embeddings`. */
  readonly context?: number;
  /** Files that travel in the module: `tokenizer.json`, `tokenizer_config.json`, `generation_config.json`, `chat_template.jinja`. */
  readonly files?: ModelFiles;
  /** What errors call the configuration; default `config.json`. */
  readonly source?: string;
}

/**
 * The module that `importModel` gives for a checkpoint with this configuration, its parameters in f32 and not trained yet:
 * - embeddings, projections: normal with deviation `initializer_range` (default 0.02)
 * - projections whose results are added to the residual stream (`o_proj`, `down_proj`): that deviation / √(2 · layers), so that
 *   the stream does not grow with the depth (Radford et al., 2019)
 * - norms 1, biases 0
 *
 * Numbers are drawn when a parameter is read, each parameter from a stream of its own.
 * @param config as in the `config.json` of Hugging Face; a missing `tie_word_embeddings` means false
 * @throws QuaverError `model-config-invalid` naming the field, `model-architecture-unsupported`,
 *   `model-rope-scaling-unsupported`, `model-context-invalid`, `model-seed-invalid`, `model-file-unknown`, `model-json-invalid`;
 *   `model-tensor-too-large` when a parameter is read
 */
export function createLlama(config: Readonly<Record<string, unknown>>, options: CreateLlamaOptions): Module {
  const { seed, source = 'config.json' } = options;
  if (!(Number.isSafeInteger(seed) && seed >= 0)) {
    throw new QuaverError('model-seed-invalid', `seed is ${seed}, expected an integer from 0`, {
      where: { option: 'seed' },
    });
  }
  const read = readConfig(config, source);
  const context = llamaContext(read, options.context);
  const deviation = initializerRange(config, source);
  const parameters = requiredTensors(read).map((tensor, index) =>
    drawnParameter(tensor, deviationOf(tensor, deviation, read.layers), { seed, stream: index }),
  );
  const files = withConfig(options.files ?? new Map(), config);
  return languageModule(llamaGraph(read, context, [...parameters, ...ropeParameters(read, context)]), {
    name: options.name ?? read.family,
    eosTokenIds: eosTokenIds(files, source),
    attachments: fileAttachments(files),
  });
}

/** Somebody wrote this by hand: a flag that is not one would silently be false. */
function readConfig(config: Readonly<Record<string, unknown>>, source: string): LlamaConfig {
  for (const flag of ['tie_word_embeddings', 'attention_bias', 'mlp_bias', 'use_sliding_window']) {
    const value = config[flag] ?? false;
    if (typeof value !== 'boolean') throw invalid(source, flag, JSON.stringify(value), 'true or false');
  }
  return llamaConfigFromHuggingFace(config, source);
}

function initializerRange(config: Readonly<Record<string, unknown>>, source: string): number {
  const value = config.initializer_range ?? 0.02;
  if (typeof value === 'number' && value >= 0 && value < Number.POSITIVE_INFINITY) return value;
  throw invalid(source, 'initializer_range', JSON.stringify(value), 'a finite number of at least 0');
}

/** The deviation of a tensor's numbers, or the number that all of them are. */
type Initial = { readonly deviation: number } | { readonly value: number };

function deviationOf({ name, shape }: RequiredTensor, deviation: number, layers: number): Initial {
  if (name.endsWith('.bias')) return { value: 0 };
  if (shape.length === 1) return { value: 1 };
  const residual = name.endsWith('.o_proj.weight') || name.endsWith('.down_proj.weight');
  return { deviation: residual ? deviation / Math.sqrt(2 * layers) : deviation };
}

/** Numbers drawn before others get a turn and an abort is noticed; a multiple of 4. */
const pieceLength = 2 ** 20;

function drawnParameter(
  { name, shape }: RequiredTensor,
  initial: Initial,
  place: { readonly seed: number; readonly stream: number },
): Parameter {
  return parameter(name, 'f32', shape, async (signal) => {
    const values = allocate(name, shape);
    if ('value' in initial) return asBytes(values.fill(initial.value));
    for (let first = 0; first < values.length; first += pieceLength) {
      if (first > 0) await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      fillNormal(values.subarray(first, first + pieceLength), initial.deviation, { ...place, first });
    }
    return asBytes(values);
  });
}

function allocate(name: string, shape: readonly number[]): Float32Array {
  const count = shape.reduce((product, dim) => product * dim, 1);
  try {
    return new Float32Array(count);
  } catch (cause) {
    throw new QuaverError('model-tensor-too-large', `tensor '${name}' of shape [${shape}] takes ${4 * count} bytes`, {
      hint: 'This platform has no buffer of that size: make the model smaller.',
      where: { tensor: name },
      cause,
    });
  }
}

function withConfig(files: ModelFiles, config: Readonly<Record<string, unknown>>): ModelFiles {
  for (const name of files.keys()) {
    if (name !== 'config.json' && modelFileNames.some((known) => known === name)) continue;
    throw new QuaverError('model-file-unknown', `'${name}' is no file that travels in a new model`, {
      hint: `Expected are ${modelFileNames.filter((known) => known !== 'config.json').join(', ')}.`,
      where: { file: name },
    });
  }
  return new Map(files).set('config.json', new TextEncoder().encode(JSON.stringify(config, undefined, 2)));
}
