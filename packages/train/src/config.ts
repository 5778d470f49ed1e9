/** @file What a training run is told, as JSON that people write. Names are those of the command's flags, with underscores. */
import { describeIssues, rematPolicies } from '@quaver/compiler';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import type { TrainConfig } from './config-types.ts';
import { schedule } from './schedule.ts';
import { knownFields } from './trainer/known-fields.ts';

const count = z.int().min(1);
const path = z.string().min(1);
const paths = z.union([path, z.array(path).min(1)]);
const globs = z.array(z.string().min(1).max(200)).max(1000);

const share = z.number().min(0).lt(1);
const amount = z.number().min(0);
const decay = { weight_decay: amount.default(0) };
const adam = { beta1: share.default(0.9), beta2: share.default(0.999), eps: amount.default(1e-8) };

const optimizerSchema = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('adamw'), ...adam, ...decay }),
  z.strictObject({
    name: z.literal('sgd'),
    momentum: share.default(0),
    nesterov: z.boolean().default(false),
    ...decay,
  }),
  z.strictObject({
    name: z.literal('adafactor'),
    decay_power: amount.default(0.8),
    eps: amount.default(1e-30),
    clip: z.number().gt(0).default(1),
    ...decay,
  }),
  z.strictObject({
    name: z.literal('muon'),
    momentum: share.default(0.95),
    iterations: z.int().min(1).max(20).default(5),
    ...adam,
    ...decay,
  }),
]);

const modelSchema = z.union([
  path,
  z.strictObject({
    config: z.union([path, z.record(z.string(), z.json())]),
    tokenizer: path,
    name: z.string().min(1).max(200).default('model'),
    seed: z.int().min(0).default(0),
  }),
]);

const packing = {
  align: count.default(128),
  too_long: z.enum(['error', 'truncate', 'skip']).default('error'),
};

const filesSchema = z.strictObject({
  files: paths,
  format: z.enum(['jsonl', 'text']).optional(),
  separator: z.string().min(1).optional(),
  validation: z
    .union([z.strictObject({ file: paths }), z.strictObject({ fraction: z.number().gt(0).lt(1) })])
    .optional(),
  ...packing,
});

const generatedSchema = z.strictObject({
  generate: z.strictObject({
    module: z.string().min(1),
    seed: z.int().min(0).default(0),
    count: z.int().min(1).max(10_000_000),
    validation: count.optional(),
  }),
  ...packing,
});

const batchSchema = z.strictObject({
  rows: count,
  tokens: count,
  accumulate: count.default(1),
});

const scheduleSchema = z.strictObject({
  decay: z.enum(['constant', 'linear', 'cosine', 'wsd']).default('cosine'),
  peak: z.number().min(0),
  warmup: z.int().min(0).default(0),
  floor: z.number().min(0).max(1).default(0.1),
  cooldown: z.int().min(0).optional(),
});

const configSchema = z.strictObject({
  model: modelSchema,
  data: z.union([filesSchema, generatedSchema]),
  recipe: z.union([z.string().min(1), z.record(z.string(), z.json())]).default('fp8-block'),
  steps: count,
  batch: batchSchema,
  optimizer: optimizerSchema.default({ name: 'adamw', beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1 }),
  schedule: scheduleSchema,
  no_weight_decay: globs.default(['*norm.weight', '*.bias']),
  frozen: globs.default([]),
  max_grad_norm: z.number().gt(0).nullable().default(1),
  remat: z.enum(rematPolicies as ['none', 'cheap', 'layers']).default('none'),
  seed: z.int().min(0).default(0),
  evaluate: z.strictObject({ every: count, batches: count.optional() }).optional(),
  checkpoint: z
    .strictObject({ every: count, keep_last: count.default(2), keep_best: z.int().min(0).default(1) })
    .default({ every: 500, keep_last: 2, keep_best: 1 }),
  early_stop: z.strictObject({ patience: count }).optional(),
  quantization_every: z.int().min(0).default(50),
  max_skipped: count.default(10),
});

/**
 * Checks a configuration and fills in its defaults.
 * @throws QuaverError `train-config-invalid`, naming the path of every wrong field and what it may be
 */
export function parseTrainConfig(source: unknown): TrainConfig {
  const schema = schemaFor(source);
  const parsed = schema.safeParse(source);
  if (!parsed.success)
    throw invalid(describeIssues(parsed.error, 'config'), fieldsInstead(schema, parsed.error, source));
  // A recipe is checked when the model is compiled.
  const config = parsed.data as TrainConfig;
  const conflicts = conflictsOf(config);
  if (conflicts.length > 0) throw invalid(conflicts);
  return config;
}

/** Data that is generated is told by its field, so that what is wrong with it is not told of files, and the other way round. */
function schemaFor(source: unknown) {
  const data = (source as { readonly data?: unknown } | null)?.data;
  const isGenerated = typeof data === 'object' && data !== null && 'generate' in data;
  return configSchema.extend({ data: isGenerated ? generatedSchema : filesSchema });
}

/** The fields that may stand where one is that may not. */
function fieldsInstead(schema: z.ZodType, { issues }: z.ZodError, source: unknown): string | undefined {
  const unknown = issues.find(({ code }) => code === 'unrecognized_keys');
  if (!unknown) return undefined;
  const fields = knownFields(schema, unknown.path, source);
  return fields.length === 0 ? undefined : `Fields of ${unknown.path.join('.') || 'config'}: ${fields.join(', ')}.`;
}

/** What cannot be together, though each part alone can. */
function conflictsOf(config: TrainConfig): string[] {
  const conflicts: string[] = [];
  const held = 'files' in config.data ? config.data.validation : config.data.generate.validation;
  if (config.evaluate && held === undefined) {
    const field = 'files' in config.data ? 'data.validation' : 'data.generate.validation';
    conflicts.push(`evaluate: there is no ${field}`);
  }
  if (config.early_stop && !config.evaluate) conflicts.push('early_stop: it needs evaluate');
  const { cooldown, ...rest } = config.schedule;
  if (cooldown !== undefined && rest.decay !== 'wsd')
    conflicts.push('schedule.cooldown: it goes with the decay wsd only');
  try {
    schedule({ ...rest, steps: config.steps, ...(cooldown === undefined ? {} : { cooldown }) });
  } catch (error) {
    if (!(error instanceof QuaverError)) throw error;
    conflicts.push(`schedule.${error.message}`);
  }
  return conflicts;
}

function invalid(
  problems: readonly string[],
  hint = 'See docs/training.md for the fields and their values.',
): QuaverError {
  return new QuaverError('train-config-invalid', `the configuration is not valid: ${problems.join('; ')}`, { hint });
}
