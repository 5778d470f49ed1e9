/** @file Checks the configuration of a run. */
import { describeIssues } from '@quaver/compiler';
import { QuaverError } from '@quaver/numerics';
import { fieldsInstead, modelSchema, optimizationFields, scheduleConflict } from '@quaver/train';
import { z } from 'zod';
import type { RlConfig } from './config-types.ts';

const count = z.int().min(1);
/** Checked by the part that it chooses. */
const named = z.looseObject({ name: z.string().min(1) });
const precision = z.enum(['bf16', 'fp8']).optional();

const rolloutSchema = z.strictObject({
  prompts: count,
  samples: count,
  max_new_tokens: count,
  temperature: z.number().gt(0).default(1),
  top_k: z.int().min(0).default(0),
  top_p: z.number().gt(0).max(1).default(1),
  max_sequences: count.default(64),
  cache_tokens: count.default(65_536),
  page_tokens: z.int().multipleOf(16).min(16).default(16),
});

const configSchema = z.strictObject({
  model: modelSchema,
  task: z.union([named, z.strictObject({ module: z.string().min(1), options: z.json().optional() })]),
  algorithm: named.default({ name: 'grpo' }),
  correction: named.default({ name: 'none' }),
  steps: count,
  rollout: rolloutSchema,
  batch: z.strictObject({ tokens: count }).default({ tokens: 4096 }),
  ...optimizationFields,
  kv_cache: precision,
  attention: precision,
  lm_head: precision,
  mode: z.enum(['unified', 'split']).default('unified'),
  reward: z
    .strictObject({
      workers: count.default(1),
      timeout_ms: count.max(2_000_000_000).default(2000),
      memory_mb: z.int().min(16).default(128),
    })
    .default({ workers: 1, timeout_ms: 2000, memory_mb: 128 }),
  evaluate: z
    .strictObject({
      every: count,
      problems: count,
      samples: count.default(1),
      temperature: z.number().min(0).default(0),
    })
    .optional(),
  checkpoint: z
    .strictObject({ every: count, keep_last: count.default(2), keep_best: z.int().min(0).default(1) })
    .default({ every: 50, keep_last: 2, keep_best: 1 }),
  max_policy_age: z.int().min(0).max(1).default(0),
  seed: z.int().min(0).default(0),
});

/**
 * Checks a configuration and fills in its defaults. What `task`, `algorithm` and `correction` say beside their names is checked by
 * `parseTask`, `parseAlgorithm` and `parseCorrection`.
 * @throws QuaverError `rl-config-invalid`, naming the path of every wrong field and what it may be
 */
export function parseRlConfig(source: unknown): RlConfig {
  const parsed = configSchema.safeParse(source);
  if (!parsed.success) {
    throw invalid(describeIssues(parsed.error, 'config'), fieldsInstead(configSchema, parsed.error, source));
  }
  const config = parsed.data as RlConfig;
  const conflicts = conflictsOf(config);
  if (conflicts.length > 0) throw invalid(conflicts);
  return config;
}

const recipeChoices = [
  ['kv_cache', 'kv-cache'],
  ['attention', 'attention'],
  ['lm_head', 'lm-head'],
] as const;

/** What cannot be together, though each part alone can. */
function conflictsOf(config: RlConfig): string[] {
  const { schedule, steps, rollout, mode, max_policy_age: age, correction, evaluate, recipe } = config;
  const conflicts: string[] = [];
  const wrong = scheduleConflict(schedule, steps);
  if (wrong !== undefined) conflicts.push(wrong);
  if (rollout.cache_tokens < rollout.max_new_tokens + rollout.page_tokens) {
    conflicts.push('rollout.cache_tokens: it holds no sequence of rollout.max_new_tokens');
  }
  if (evaluate && evaluate.samples > 1 && evaluate.temperature === 0) {
    conflicts.push('evaluate.samples: greedy answers are all the same; give evaluate.temperature');
  }
  for (const [field, choice] of recipeChoices) {
    if (config[field] !== undefined && typeof recipe === 'string' && recipe.includes(`+${choice}=`)) {
      conflicts.push(`${field}: the recipe ${recipe} says it already`);
    }
  }
  if (age > 0 && mode !== 'split') conflicts.push('max_policy_age: generation beside training needs mode "split"');
  if (age > 0 && correction.name === 'none') conflicts.push('max_policy_age: older weights need a correction');
  return conflicts;
}

function invalid(problems: readonly string[], hint = 'See docs/rl.md for the fields and their values.'): QuaverError {
  return new QuaverError('rl-config-invalid', `the configuration is not valid: ${problems.join('; ')}`, { hint });
}
