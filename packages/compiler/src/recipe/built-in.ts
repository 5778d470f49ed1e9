import type { KeepRule, LinearPrecision, PhasePrecision, Quantization, Recipe } from './recipe.ts';

/** Output projections and the routers of mixtures of experts: few bytes, large effect. */
const keep: readonly KeepRule[] = [
  { match: 'lm_head', precision: 'bf16' },
  { match: '*.router', precision: 'bf16' },
  { match: '*.mlp.gate', precision: 'bf16' },
];

/**
 * What the block recipes keep besides: where FP8 costs most accuracy per byte (measured: docs/adr/0008). The keys and
 * values of grouped-query attention are few weights that every later token reads; the last layer feeds the logits.
 */
const keepInBlockRecipes: readonly KeepRule[] = [
  ...keep,
  { match: '*.self_attn.{k,v}_proj', precision: 'bf16' },
  { last_layers: 1, precision: 'bf16' },
];

const pow2 = { rounding: 'pow2_up', dtype: 'f32' } as const;
const exact = { rounding: 'none', dtype: 'f32' } as const;
const e8m0 = { rounding: 'pow2_up', dtype: 'f8e8m0fnu' } as const;

function e4m3(granularity: Quantization['granularity'], scale: Quantization['scale']): Quantization {
  return { format: 'f8e4m3fn', granularity, scale };
}

function phase(linear: LinearPrecision): PhasePrecision {
  const other = linear === 'f32' ? 'f32' : 'bf16';
  return { linear, kv_cache: other, attention: other };
}

function unified(
  name: string,
  description: string,
  linear: LinearPrecision,
  rules: readonly KeepRule[] = keep,
): Recipe {
  return { name, description, generate: phase(linear), train: phase(linear), keep: rules, embedding: 'bf16' };
}

const block: LinearPrecision = {
  input: e4m3({ block: [1, 128] }, pow2),
  weight: e4m3({ block: [128, 128] }, pow2),
  grad_output: e4m3({ block: [1, 128] }, pow2),
};

const history = { length: 1024, algorithm: 'max', margin: 0 } as const;

const list: readonly Recipe[] = [
  unified(
    'fp8-block',
    'E4M3, weights 128x128, activations and gradients 1x128, power-of-two scales',
    block,
    keepInBlockRecipes,
  ),
  unified(
    'fp8-block-f32',
    'E4M3, weights 128x128, activations and gradients 1x128, f32 scales',
    {
      input: e4m3({ block: [1, 128] }, exact),
      weight: e4m3({ block: [128, 128] }, exact),
      grad_output: e4m3({ block: [1, 128] }, exact),
    },
    keepInBlockRecipes,
  ),
  unified('fp8-tensor', 'one current f32 scale per tensor; E4M3 forward, E5M2 gradients', {
    input: e4m3('tensor', exact),
    weight: e4m3('tensor', exact),
    grad_output: { ...e4m3('tensor', exact), format: 'f8e5m2' },
  }),
  unified('fp8-delayed', 'one f32 scale per tensor, for activations and gradients from the amax history', {
    input: { ...e4m3('delayed', exact), history },
    weight: e4m3('tensor', exact),
    grad_output: { ...e4m3('delayed', exact), format: 'f8e5m2', history },
  }),
  unified('fp8-row', 'E4M3, one f32 scale per row', {
    input: e4m3('row', exact),
    weight: e4m3('row', exact),
    grad_output: e4m3('row', exact),
  }),
  unified('mxfp8', 'OCP microscaling: E4M3, 1x32, E8M0 scales', {
    input: e4m3({ block: [1, 32] }, e8m0),
    weight: e4m3({ block: [1, 32] }, e8m0),
    grad_output: e4m3({ block: [1, 32] }, e8m0),
  }),
  unified('bf16', 'BF16 products with f32 sums: the baseline', 'bf16'),
  { ...unified('f32', 'everything in f32: the baseline of the baseline', 'f32'), keep: [], embedding: 'f32' },
  {
    ...unified(
      'fp8-generate-only',
      'FP8 in generation, BF16 in training: makes the mismatch visible',
      block,
      keepInBlockRecipes,
    ),
    train: phase('bf16'),
  },
];

/** The recipes that have names, by name. `fp8-block` is the default. */
export const builtInRecipes: ReadonlyMap<string, Recipe> = new Map(list.map((recipe) => [recipe.name, recipe]));

export const defaultRecipe = 'fp8-block';
