/** @file What a training run is told, as JSON that people write. Names are those of the command's flags, with underscores. */
import { describeIssues } from '@quaver/compiler';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import { fieldsInstead, modelSchema, optimizationFields, scheduleConflict } from './config-parts.ts';
import type { TrainConfig } from './config-types.ts';

const count = z.int().min(1);
const path = z.string().min(1);
const paths = z.union([path, z.array(path).min(1)]);

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

/** Of a micro-batch: beyond this no computer has the memory, and a typing error is likely. */
const mostTokens = 2 ** 22;

const batchSchema = z.strictObject({
  rows: count,
  tokens: count,
  accumulate: count.default(1),
});

const configSchema = z.strictObject({
  model: modelSchema,
  data: z.union([filesSchema, generatedSchema]),
  steps: count,
  epochs: count.optional(),
  batch: batchSchema,
  ...optimizationFields,
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

/** What cannot be together, though each part alone can. */
function conflictsOf(config: TrainConfig): string[] {
  const conflicts: string[] = [];
  const held = 'files' in config.data ? config.data.validation : config.data.generate.validation;
  if (config.evaluate && held === undefined) {
    const field = 'files' in config.data ? 'data.validation' : 'data.generate.validation';
    conflicts.push(`evaluate: there is no ${field}`);
  }
  const tokens = config.batch.rows * config.batch.tokens;
  if (tokens > mostTokens) {
    conflicts.push(`batch: rows of ${tokens} tokens together, expected up to ${mostTokens}; accumulate micro-batches`);
  }
  if (config.early_stop && !config.evaluate) conflicts.push('early_stop: it needs evaluate');
  const wrong = scheduleConflict(config.schedule, config.steps);
  if (wrong !== undefined) conflicts.push(wrong);
  return conflicts;
}

function invalid(
  problems: readonly string[],
  hint = 'See docs/training.md for the fields and their values.',
): QuaverError {
  return new QuaverError('train-config-invalid', `the configuration is not valid: ${problems.join('; ')}`, { hint });
}
