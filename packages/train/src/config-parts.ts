/** @file The parts of a configuration that every kind of training has: a model, what moves its weights, and how far. */
import { type Recipe, type RematPolicy, rematPolicies } from '@quaver/compiler';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import type { ModelConfig, OptimizerConfig, ScheduleConfig } from './config-types.ts';
import { schedule } from './schedule.ts';
import { knownFields } from './trainer/known-fields.ts';

const path = z.string().min(1);
const share = z.number().min(0).lt(1);
const amount = z.number().min(0);
const decay = { weight_decay: amount.default(0) };
const adam = { beta1: share.default(0.9), beta2: share.default(0.95), eps: amount.default(1e-8) };

const optimizerSchema: z.ZodType<OptimizerConfig> = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('adamw'), ...adam, weight_decay: amount.default(0.1) }),
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

export const modelSchema: z.ZodType<ModelConfig> = z.union([
  path,
  z.strictObject({
    config: z.union([path, z.record(z.string(), z.json())]),
    tokenizer: path,
    name: z.string().min(1).max(200).default('model'),
    seed: z.int().min(0).default(0),
  }),
]);

const scheduleSchema: z.ZodType<ScheduleConfig> = z.strictObject({
  decay: z.enum(['constant', 'linear', 'cosine', 'wsd']).default('cosine'),
  peak: z.number().min(0),
  warmup: z.int().min(0).default(0),
  floor: z.number().min(0).max(1).default(0.1),
  cooldown: z.int().min(0).optional(),
});

const globs = z.array(z.string().min(1).max(200)).max(1000);

/** The fields of a configuration that say how weights are computed with and moved. */
export const optimizationFields: {
  readonly recipe: z.ZodType<string | Recipe>;
  readonly optimizer: z.ZodType<OptimizerConfig>;
  readonly schedule: z.ZodType<ScheduleConfig>;
  readonly no_weight_decay: z.ZodType<readonly string[]>;
  readonly frozen: z.ZodType<readonly string[]>;
  readonly max_grad_norm: z.ZodType<number | null>;
  readonly remat: z.ZodType<RematPolicy>;
} = {
  // A recipe of one's own is checked when the model is compiled.
  recipe: z.union([path, z.record(z.string(), z.json())]).default('fp8-block') as unknown as z.ZodType<string | Recipe>,
  optimizer: optimizerSchema.default(optimizerSchema.parse({ name: 'adamw' })),
  schedule: scheduleSchema,
  no_weight_decay: globs.default(['*norm.weight', '*.bias']),
  frozen: globs.default([]),
  max_grad_norm: z.number().gt(0).nullable().default(1),
  remat: z.enum(rematPolicies as ['none', 'cheap', 'layers']).default('none'),
};

/** What is wrong with a schedule of so many steps. */
export function scheduleConflict({ cooldown, ...rest }: ScheduleConfig, steps: number): string | undefined {
  if (cooldown !== undefined && rest.decay !== 'wsd') return 'schedule.cooldown: it goes with the decay wsd only';
  try {
    schedule({ ...rest, steps, ...(cooldown === undefined ? {} : { cooldown }) });
    return undefined;
  } catch (error) {
    if (!(error instanceof QuaverError)) throw error;
    return `schedule.${error.message}`;
  }
}

/** The fields that may stand where one is that may not. */
export function fieldsInstead(schema: z.ZodType, { issues }: z.ZodError, source: unknown): string | undefined {
  const unknown = issues.find(({ code }) => code === 'unrecognized_keys');
  if (!unknown) return undefined;
  const fields = knownFields(schema, unknown.path, source);
  return fields.length === 0 ? undefined : `Fields of ${unknown.path.join('.') || 'config'}: ${fields.join(', ')}.`;
}
