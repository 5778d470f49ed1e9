/** @file The configuration of a training run out of a file and flags. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileError } from '@quaver/ir/node';
import { QuaverError } from '@quaver/numerics';
import type { Recipe } from '@quaver/sdk/node';
import type { TrainFlags } from './commands/train.ts';
import { UsageError } from './report-error.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * A configuration file as it is, with its paths resolved from its folder.
 * @throws QuaverError `file-…`, `train-config-invalid`
 */
export async function readConfigFile(file: string): Promise<Json> {
  const content = await readFile(file, 'utf8').catch((error) => Promise.reject(fileError(error, file)));
  let json: unknown;
  try {
    json = JSON.parse(content);
  } catch (cause) {
    throw new QuaverError('train-config-invalid', `${file}: this is not JSON: ${(cause as Error).message}`, {
      where: { file },
      cause,
    });
  }
  if (!isObject(json))
    throw new QuaverError('train-config-invalid', `${file}: expected an object`, { where: { file } });
  const folder = path.dirname(path.resolve(file));
  const resolve = (value: unknown): unknown => {
    if (typeof value === 'string') return path.resolve(folder, value);
    return Array.isArray(value) ? value.map(resolve) : value;
  };
  const { model, data } = json;
  const resolved: Record<string, unknown> = { ...json };
  if (typeof model === 'string') resolved.model = resolve(model);
  else if (isObject(model)) {
    resolved.model = { ...model, config: typeof model.config === 'string' ? resolve(model.config) : model.config };
    if ('tokenizer' in model) resolved.model = { ...(resolved.model as Json), tokenizer: resolve(model.tokenizer) };
  }
  if (isObject(data)) {
    const { validation, generate } = data;
    const held = isObject(validation) && 'file' in validation ? { file: resolve(validation.file) } : validation;
    resolved.data = {
      ...data,
      ...defined({
        files: data.files === undefined ? undefined : resolve(data.files),
        validation: held,
        generate: isObject(generate) ? { ...generate, module: resolveModule(generate.module, folder) } : generate,
      }),
    };
  }
  return resolved;
}

/** A package that is installed where the configuration is, or a path from its folder, as an absolute path. */
function resolveModule(module: unknown, folder: string): unknown {
  if (typeof module !== 'string') return module;
  try {
    return createRequire(path.join(folder, 'config.json')).resolve(module);
  } catch {
    return module;
  }
}

/** The configuration with what the flags say; defaults where neither says anything. Paths are resolved from here. */
export function fromFlags(given: Json, flags: TrainFlags, recipe: string | Recipe | undefined): Json {
  const fresh = flags.config === undefined;
  if (fresh) {
    const missing = (['model', 'data', 'steps'] as const).filter((name) => flags[name] === undefined);
    if (missing.length > 0) {
      throw new UsageError(`--${missing.join(', --')} missing`, 'Give them, or a --config, or a run to --resume.');
    }
  }
  const here = (file: string) => path.resolve(file);
  const part = (name: string): Json => (isObject(given[name]) ? given[name] : {});
  const steps = flags.steps ?? given.steps;
  const data = {
    ...part('data'),
    ...(flags.data === undefined ? {} : { files: flags.data.map(here) }),
    ...validationOf(flags, fresh),
  };
  const batch = {
    ...(fresh ? { rows: 4, tokens: 512 } : {}),
    ...part('batch'),
    ...defined({ rows: flags.rows, tokens: flags.length, accumulate: flags.accumulate }),
  };
  const schedule = {
    ...(fresh ? { peak: 1e-4, warmup: Math.ceil(Number(steps) / 20) } : {}),
    ...part('schedule'),
    ...defined({ peak: flags.lr }),
  };
  const every = Math.max(1, Math.round(Number(steps) / 10));
  return {
    ...given,
    ...defined({
      model: flags.model === undefined ? undefined : here(flags.model),
      recipe,
      steps,
      seed: flags.seed,
      remat: flags.remat,
    }),
    data,
    batch,
    schedule,
    ...(fresh ? { evaluate: { every }, checkpoint: { every } } : {}),
  };
}

function validationOf(flags: TrainFlags, fresh: boolean): Json {
  if (flags.validation !== undefined) return { validation: { file: path.resolve(flags.validation) } };
  if (flags.validationFraction !== undefined) return { validation: { fraction: flags.validationFraction } };
  return fresh ? { validation: { fraction: 0.05 } } : {};
}

function defined(values: Json): Json {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
