import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import { builtInRecipes } from './built-in.ts';
import { phases, type Recipe } from './recipe.ts';

const highPrecision = z.enum(['f32', 'bf16']);
const attentionPrecision = z.enum(['f32', 'bf16', 'fp8']);
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
});

const phasePrecision = z.strictObject({
  linear: z.union([
    highPrecision,
    z.strictObject({ input: quantization, weight: quantization, grad_output: quantization }),
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
  if (!parsed.success) throw invalid(parsed.error.issues.flatMap((issue) => describeIssue(issue, [])));
  const recipe: Recipe = parsed.data;
  const conflicts = findConflicts(recipe);
  if (conflicts.length > 0) throw invalid(conflicts);
  return recipe;
}

/**
 * A recipe by name, or checked when it is an object.
 * @throws QuaverError `recipe-unknown`, `recipe-invalid`
 */
export function resolveRecipe(recipe: string | Recipe): Recipe {
  if (typeof recipe !== 'string') return parseRecipe(recipe);
  const known = builtInRecipes.get(recipe);
  if (known) return known;
  throw new QuaverError('recipe-unknown', `there is no recipe named '${recipe}'`, {
    hint: `Recipes are ${[...builtInRecipes.keys()].join(', ')}; or write one as JSON, see docs/recipes.md.`,
    where: { recipe },
  });
}

/** What the shape of the data alone does not rule out. */
function findConflicts(recipe: Recipe): string[] {
  return phases.flatMap((phase) => {
    const { linear, kv_cache: cache, attention } = recipe[phase];
    const conflicts: string[] = [];
    if ((attention === 'f32') !== (cache === 'f32')) {
      conflicts.push(`${phase}.kv_cache is ${cache} but ${phase}.attention is ${attention}: f32 goes with f32 only`);
    }
    if (attention === 'fp8' && cache !== 'fp8') {
      conflicts.push(`${phase}.attention is fp8 but ${phase}.kv_cache is ${cache}: FP8 attention needs an FP8 cache`);
    }
    if (typeof linear === 'string') return conflicts;
    for (const [role, { granularity, scale, history }] of Object.entries(linear)) {
      const path = `${phase}.linear.${role}`;
      if (scale.dtype === 'f8e8m0fnu' && scale.rounding === 'none') {
        conflicts.push(
          `${path}.scale.rounding is none but f8e8m0fnu holds powers of two only: pow2_up or pow2_nearest`,
        );
      }
      if ((granularity === 'delayed') !== (history !== undefined)) {
        conflicts.push(`${path}.history goes with granularity delayed, and only with it`);
      }
      if (granularity === 'delayed' && role === 'weight') {
        conflicts.push(`${path}.granularity is delayed, but weights are known when compiling: tensor, row or block`);
      }
    }
    const [inputK, weightK] = [linear.input, linear.weight].map(({ granularity }) =>
      typeof granularity === 'string' ? 0 : granularity.block[1],
    );
    if (!blocksDivide(inputK!, weightK!)) {
      conflicts.push(`${phase}.linear: blocks of ${inputK} (input) and ${weightK} (weight) along k do not divide`);
    }
    return conflicts;
  });
}

/** Partial sums are as long as the shortest block, at most 128; longer blocks must be a whole number of them. 0 fits all. */
function blocksDivide(...sizes: readonly number[]): boolean {
  const blocks = sizes.filter((size) => size > 0);
  const segment = Math.min(128, ...blocks);
  return blocks.every((size) => size % segment === 0);
}

function invalid(problems: readonly string[]): QuaverError {
  return new QuaverError('recipe-invalid', `the recipe is not valid: ${problems.join('; ')}`, {
    hint: 'See docs/recipes.md for the fields and their values.',
  });
}

type Issue = z.core.$ZodIssue;

/** One line per problem: path, what was expected, what was found. */
function describeIssue(issue: Issue, parent: readonly PropertyKey[]): string[] {
  const path = [...parent, ...issue.path];
  if (issue.code === 'invalid_union') return describeUnion(issue.errors, path);
  const name = path.length === 0 ? 'recipe' : path.join('.');
  if (issue.code === 'invalid_value') return [`${name}: expected one of ${issue.values.join(', ')}`];
  if (issue.code === 'unrecognized_keys') return [`${name}: unknown field ${issue.keys.join(', ')}`];
  return [`${name}: ${issue.message}`];
}

/** The branch that got furthest is the one that was meant; when none got anywhere, all of them are listed. */
function describeUnion(branches: readonly (readonly Issue[])[], path: readonly PropertyKey[]): string[] {
  const score = (issues: readonly Issue[]) =>
    issues.some((issue) => issue.path.length === 0 && issue.code !== 'unrecognized_keys') ? 0 : 1;
  const meant = branches.filter((issues) => score(issues) > 0);
  const described = (meant.length > 0 ? meant : branches).map((issues) =>
    issues.flatMap((issue) => describeIssue(issue, path)).join(', '),
  );
  return [described.join(', or ')];
}
