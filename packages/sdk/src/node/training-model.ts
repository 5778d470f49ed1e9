/** @file The model that a training run begins with: from a file, or new. */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Module } from '@quaver/ir';
import { fileError } from '@quaver/ir/node';
import { createLlama } from '@quaver/models';
import { QuaverError } from '@quaver/numerics';
import type { ModelConfig } from '@quaver/train';
import { isCompiled, recipeOf } from '../recipe-of.ts';
import { importModelFile } from './import-model-file.ts';
import { readModule } from './module-file.ts';

/** A module whose tensors are read when they are asked for, until it is closed. */
export interface TrainingModel extends AsyncDisposable {
  readonly module: Module;
}

/**
 * Opens what a configuration names as its model: a `.qvr` file that is not compiled, a checkpoint that can be imported, or the
 * configuration of a new model with random weights.
 * @throws QuaverError `training-model-compiled`, `file-…`, `checkpoint-…`, `model-…`
 */
export async function openTrainingModel(model: ModelConfig, signal?: AbortSignal): Promise<TrainingModel> {
  if (typeof model !== 'string') return createdModel(model);
  const opened = await openFile(model, signal);
  if (!isCompiled(opened.module)) return opened;
  await opened[Symbol.asyncDispose]();
  throw new QuaverError(
    'training-model-compiled',
    `${model} is compiled, with ${recipeOf(opened.module)?.name ?? 'a recipe'}: its weights have lost what training needs`,
    { hint: 'Train from the imported model; training compiles it with the recipe.', where: { file: model } },
  );
}

async function openFile(file: string, signal: AbortSignal | undefined): Promise<TrainingModel> {
  if (!file.endsWith('.qvr')) return importModelFile(file, signal ? { signal } : {});
  const opened = await readModule(file, signal ? { signal } : {});
  const { name, symbols, parameters, states, functions, metadata, attachments } = opened;
  const module: Module = { name, symbols, parameters, states, functions, metadata, attachments };
  return { module, [Symbol.asyncDispose]: () => opened.close() };
}

async function createdModel(model: Exclude<ModelConfig, string>): Promise<TrainingModel> {
  const config = typeof model.config === 'string' ? await readJson(model.config) : model.config;
  const files = await readFolder(model.tokenizer);
  const module = createLlama(config as Record<string, unknown>, { seed: model.seed, name: model.name, files });
  return { module, [Symbol.asyncDispose]: () => Promise.resolve() };
}

async function readJson(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((error) => Promise.reject(fileError(error, file)));
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new QuaverError('model-config-invalid', `${file}: this is not JSON: ${(cause as Error).message}`, {
      where: { file },
      cause,
    });
  }
}

const tokenizerFiles = ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'chat_template.jinja'];

/** The tokenizer's files in a folder. */
async function readFolder(folder: string): Promise<Map<string, Uint8Array>> {
  const stats = await stat(folder).catch((error) => Promise.reject(fileError(error, folder)));
  const names = stats.isDirectory() ? await readdir(folder) : [];
  if (!names.includes('tokenizer.json')) {
    throw new QuaverError('tokenizer-missing', `${folder}: there is no tokenizer.json`, {
      hint: 'Give the folder that holds tokenizer.json and tokenizer_config.json as model.tokenizer.',
      where: { file: folder },
    });
  }
  const found = new Map<string, Uint8Array>();
  for (const name of names) {
    if (tokenizerFiles.includes(name)) found.set(name, await readFile(path.join(folder, name)));
  }
  return found;
}
