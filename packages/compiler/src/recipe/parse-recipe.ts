import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import { describeIssues } from './describe-issues.ts';
import type { AttentionPrecision, Recipe } from './recipe.ts';
import { findConflicts } from './recipe-conflicts.ts';

const highPrecision = z.enum(['f32', 'bf16']);
export const attentionPrecisions: readonly AttentionPrecision[] = ['f32', 'bf16', 'fp8'];
const attentionPrecision = z.enum(attentionPrecisions);
const blockSize = z.int().min(0).max(65536);

const quantization = z.strictObject({
  format: z.enum(['f8e4m3fn', 'f8e5m2']),
  granularity: z.union([
    z.enum(['tensor', 'row', 'delayed']),
    z.strictObject({ block: z.tuple([blockSize, blockSize]) }),
  ]),
  scale: z.strictObject({
    rounding: z.enum(['none', 'pow2_up', 'pow2_nearest']),
    dtype: z.enum(['f32', 'f8e8m0fnu']).default('f32'),
  }),
  history: z
    .strictObject({
      length: z.int().min(1).max(65536).default(1024),
      algorithm: z.enum(['max', 'most_recent']).default('max'),
      margin: z.int().min(0).max(8).default(0),
    })
    .optional(),
  rounding: z.enum(['nearest', 'stochastic']).optional(),
});

function gradientProduct<Operand extends string>(other: Operand) {
  const operands = { grad_output: quantization.optional(), [other]: quantization.optional() };
  return z.union([
    highPrecision,
    z.strictObject(operands as Record<'grad_output' | Operand, typeof operands.grad_output>),
  ]);
}

const phasePrecision = z.strictObject({
  linear: z.union([
    highPrecision,
    z.strictObject({
      input: quantization,
      weight: quantization,
      grad_output: quantization,
      dgrad: gradientProduct('weight').optional(),
      wgrad: gradientProduct('input').optional(),
    }),
  ]),
  kv_cache: attentionPrecision.default('bf16'),
  attention: attentionPrecision.default('bf16'),
});

const keptPrecision = highPrecision.default('bf16');
/** Few asterisks: matching time grows with each. */
const glob = z
  .string()
  .min(1)
  .max(200)
  .refine((text) => text.split('*').length <= 9, { error: 'a glob may have at most 8 asterisks' });
const keepRule = z.union([
  z.strictObject({ match: glob, precision: keptPrecision }),
  z.strictObject({ first_layers: z.int().min(0), precision: keptPrecision }),
  z.strictObject({ last_layers: z.int().min(0), precision: keptPrecision }),
]);

const recipeSchema = z.strictObject({
  name: z.string().min(1).max(100),
  description: z.string().default(''),
  generate: phasePrecision,
  train: phasePrecision,
  keep: z.array(keepRule).max(1000).default([]),
  embedding: highPrecision.default('bf16'),
});

/**
 * Checks a recipe that came from a JSON file and fills in its defaults.
 * @throws QuaverError `recipe-invalid`, naming the path of every wrong field and what it may be
 */
export function parseRecipe(source: unknown): Recipe {
  const parsed = recipeSchema.safeParse(source);
  if (!parsed.success) throw invalid(describeIssues(parsed.error, 'recipe'));
  const recipe: Recipe = parsed.data;
  const conflicts = findConflicts(recipe);
  if (conflicts.length > 0) throw invalid(conflicts);
  return recipe;
}

function invalid(problems: readonly string[]): QuaverError {
  return new QuaverError('recipe-invalid', `the recipe is not valid: ${problems.join('; ')}`, {
    hint: 'See docs/recipes.md for the fields and their values.',
  });
}
