/** @file The configuration of a training run out of a file and flags. */
import { createRequire } from 'node:module';
import path from 'node:path';
import { openTrainingModel, type Recipe } from '@quaver/sdk/node';
import type { TrainFlags } from './commands/train.ts';
import { isObject, type Json, readJsonObject, resolveModelAndRecipe, resolvePaths } from './config-file.ts';
import { UsageError } from './report-error.ts';

const trainKind = { invalid: 'train-config-invalid', page: 'docs/training.md' };

/**
 * A configuration file as it is, with its paths resolved from its folder, and its recipe read where it is a file.
 * @throws QuaverError `file-…`, `train-config-invalid`, `recipe-invalid`
 */
export async function readConfigFile(file: string): Promise<Json> {
  const json = await readJsonObject(file, trainKind);
  const folder = path.dirname(path.resolve(file));
  const resolve = (value: unknown): unknown => resolvePaths(value, folder);
  const { data } = json;
  const resolved: Record<string, unknown> = { ...json, ...(await resolveModelAndRecipe(json, folder)) };
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
  // What is no object stays as it is, so that it is named as what is wrong.
  const changed = (name: string, flagged: Json, preset: Json): unknown =>
    given[name] !== undefined && !isObject(given[name]) ? given[name] : { ...preset, ...part(name), ...flagged };
  const steps = flags.steps ?? given.steps;
  const data = changed(
    'data',
    { ...(flags.data === undefined ? {} : { files: flags.data.map(here) }), ...validationOf(flags, fresh) },
    {},
  );
  const batch = changed(
    'batch',
    defined({ rows: flags.rows, tokens: flags.length, accumulate: flags.accumulate }),
    fresh ? { rows: 4 } : {},
  );
  const schedule = changed(
    'schedule',
    defined({ peak: flags.lr }),
    fresh ? { peak: 1e-4, warmup: Math.ceil(Number(steps) / 20) } : {},
  );
  const every = Math.max(1, Math.round(Number(steps) / 10));
  return {
    ...given,
    ...defined({
      model: flags.model === undefined ? undefined : here(flags.model),
      recipe,
      steps,
      epochs: flags.epochs,
      seed: flags.seed,
      remat: flags.remat,
    }),
    data,
    batch,
    schedule,
    ...(fresh ? { evaluate: { every, batches: usualBatches }, checkpoint: { every } } : {}),
  };
}

/** Validation batches of an evaluation: a large file shall not take longer to evaluate than to train on. */
const usualBatches = 50;

/** Tokens of a row, unless the context of the model is shorter. */
const usualLength = 512;

/**
 * A configuration that flags made, with a length of its rows: where no flag says it, the usual one or the context of the model.
 * @throws QuaverError what opening the model throws
 */
export async function withLength(config: Json): Promise<Json> {
  const { model, batch } = config;
  if (typeof model !== 'string' || !isObject(batch) || batch.tokens !== undefined) return config;
  await using opened = await openTrainingModel(model);
  const context = opened.module.symbols.find(({ name }) => name === 'T')?.max ?? usualLength;
  return { ...config, batch: { ...batch, tokens: Math.min(usualLength, context) } };
}

function validationOf(flags: TrainFlags, fresh: boolean): Json {
  if (flags.validation !== undefined && flags.validationFraction !== undefined) {
    throw new UsageError('--validation does not go with --validation-fraction', 'Give the one or the other.');
  }
  if (flags.validation !== undefined) return { validation: { file: path.resolve(flags.validation) } };
  if (flags.validationFraction !== undefined) return { validation: { fraction: flags.validationFraction } };
  return fresh ? { validation: { fraction: 0.05 } } : {};
}

function defined(values: Json): Json {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
