import { parseRecipe } from './parse-recipe.ts';
import { type AttentionPrecision, isUnified, type PhasePrecision, type Recipe } from './recipe.ts';

/** What `--kv-cache`, `--attention` and `--lm-head` change about a recipe. */
export interface RecipeOptions {
  readonly kvCache?: AttentionPrecision | undefined;
  readonly attention?: AttentionPrecision | undefined;
  /** `fp8` drops the rules that keep `lm_head` in high precision. */
  readonly lmHead?: 'fp8' | 'bf16' | 'f32' | undefined;
}

/**
 * The recipe with some choices changed, in both phases; when the phases differ on purpose (`fp8-generate-only`), FP8
 * stays out of training. FP8 attention brings an FP8 cache with it unless `kvCache` says otherwise.
 * @throws QuaverError `recipe-invalid`
 */
export function changeRecipe(base: Recipe, options: RecipeOptions): Recipe {
  const { attention, lmHead } = options;
  const kvCache = options.kvCache ?? (attention === 'fp8' ? 'fp8' : undefined);
  if (kvCache === undefined && attention === undefined && lmHead === undefined) return base;
  const change = (phase: PhasePrecision): PhasePrecision => ({
    linear: phase.linear,
    kv_cache: kvCache ?? phase.kv_cache,
    attention: attention ?? phase.attention,
  });
  const suffix = [
    kvCache && `kv-cache=${kvCache}`,
    attention && `attention=${attention}`,
    lmHead && `lm-head=${lmHead}`,
  ].filter(Boolean);
  const otherRules = base.keep.filter((rule) => !('match' in rule && rule.match === 'lm_head'));
  return parseRecipe({
    ...base,
    name: `${base.name}+${suffix.join('+')}`,
    generate: change(base.generate),
    train: isUnified(base) ? change(base.train) : base.train,
    keep:
      lmHead === undefined
        ? base.keep
        : lmHead === 'fp8'
          ? otherRules
          : [{ match: 'lm_head', precision: lmHead }, ...otherRules],
  });
}
