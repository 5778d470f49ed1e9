/** @file Configurations of runs as people write them: JSON files whose paths are relative to them. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileError } from '@quaver/ir/node';
import { QuaverError } from '@quaver/numerics';
import { readRecipe } from './model-flags.ts';

export type Json = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The object in a JSON file.
 * @param kind the code of the error for a file that holds none, and the page that explains the fields
 * @throws QuaverError `file-…`, and the code of the kind
 */
export async function readJsonObject(
  file: string,
  { invalid, page }: { readonly invalid: string; readonly page: string },
): Promise<Json> {
  const content = await readFile(file, 'utf8').catch((error) => Promise.reject(fileError(error, file)));
  const problem = (what: string, cause?: unknown) =>
    new QuaverError(invalid, `${file}: ${what}`, {
      hint: `A configuration is a JSON object; see ${page} for its fields.`,
      where: { file },
      cause,
    });
  let json: unknown;
  try {
    json = JSON.parse(content);
  } catch (cause) {
    throw problem(`this is not JSON: ${(cause as Error).message}`, cause);
  }
  if (isObject(json)) return json;
  throw problem('expected an object');
}

/** Paths, one or a list, from a folder; what is neither stays as it is. */
export function resolvePaths(value: unknown, folder: string): unknown {
  if (typeof value === 'string') return path.resolve(folder, value);
  return Array.isArray(value) ? value.map((item) => resolvePaths(item, folder)) : value;
}

/**
 * The fields that every kind of run has: `model` with its paths resolved, `recipe` read where it is a file.
 * @throws QuaverError `file-…`, `recipe-invalid`
 */
export async function resolveModelAndRecipe({ model, recipe }: Json, folder: string): Promise<Json> {
  const resolved: Record<string, unknown> = {};
  if (typeof model === 'string') resolved.model = resolvePaths(model, folder);
  else if (isObject(model)) {
    const config = typeof model.config === 'string' ? resolvePaths(model.config, folder) : model.config;
    const tokenizer = 'tokenizer' in model ? { tokenizer: resolvePaths(model.tokenizer, folder) } : {};
    resolved.model = { ...model, config, ...tokenizer };
  }
  const isFile = typeof recipe === 'string' && /\.json$|[/\\]/.test(recipe);
  if (isFile) resolved.recipe = await readRecipe(path.resolve(folder, recipe));
  return resolved;
}
