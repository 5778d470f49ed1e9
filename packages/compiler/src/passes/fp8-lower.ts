import { FunctionRewriter, type GraphFunction, type Module, type Node, type StateVariable } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { phaseOf } from '../graph/phase.ts';
import { parameterOnlyValues } from '../graph/value-uses.ts';
import { loweredAnnotation, readRequest, refusedAnnotation } from '../lowering/annotations.ts';
import { type CachePlan, planCaches } from '../lowering/cache-plan.ts';
import { AttentionLowering, cacheDType, scaleStateName } from '../lowering/lower-attention.ts';
import { lowerEmbedding } from '../lowering/lower-embedding.ts';
import { type LinearContext, type Lowering, lowerLinear } from '../lowering/lower-linear.ts';
import type { Pass } from '../pass.ts';
import { parseRecipe } from '../recipe/parse-recipe.ts';
import type { HighPrecision, Recipe } from '../recipe/recipe.ts';

/**
 * Turns precision requests into nodes. Linear layers become amax → compute_scale → quantize → dequantize on both operands
 * and an f32 product; `fp8-fuse-scaled-dot` makes one node of the last three. Caches change their type in every function
 * at once. A request that cannot be met leaves the node as it was, with the reason; nothing is lowered in silence.
 */
export const fp8Lower: Pass = {
  name: 'fp8-lower',
  description:
    'Replaces precision requests by casts, scales and quantized products; names the ones that cannot be met.',
  run(module, { registry }) {
    if (!module.functions.some((fn) => fn.nodes.some((node) => readRequest(node)))) return module;
    const recipe = recipeOf(module);
    const caches = planCaches(module, recipe);
    const added = new Map<string, StateVariable>();
    const functions = module.functions.map((fn) =>
      lowerFunction(new FunctionRewriter(fn, registry), module, recipe, caches, added),
    );
    const metadata = { ...module.metadata, lowered: recipe.name };
    return { ...module, functions, states: [...cacheStates(module, caches), ...added.values()], metadata };
  },
};

/** The recipe that the annotations refer to. */
function recipeOf(module: Module): Recipe {
  const text = module.metadata.recipe;
  if (text !== undefined) return parseRecipe(JSON.parse(text));
  throw new QuaverError('recipe-missing', 'nodes ask for a precision but the module names no recipe', {
    hint: 'Run annotate-precision before fp8-lower.',
    where: { module: module.name },
  });
}

function cacheStates(module: Module, caches: CachePlan): StateVariable[] {
  return module.states.flatMap((state): StateVariable[] => {
    const dtype = cacheDType(caches.precision.get(state.name));
    if (!dtype) return [state];
    const retyped = { name: state.name, type: { ...state.type, dtype } };
    if (dtype === 'bf16') return [retyped];
    const shape = [...state.type.shape.slice(0, 3), 1];
    return [retyped, { name: scaleStateName(state.name), type: { dtype: 'f8e8m0fnu', shape } }];
  });
}

function lowerFunction(
  rewriter: FunctionRewriter,
  module: Module,
  recipe: Recipe,
  caches: CachePlan,
  added: Map<string, StateVariable>,
): GraphFunction {
  const fn = rewriter.source;
  const phase = recipe[phaseOf(module, fn.name)];
  const attention = new AttentionLowering(rewriter, caches);
  const addState = (state: StateVariable) => added.set(state.name, state);
  const linear: LinearContext = { rewriter, weights: parameterOnlyValues(fn), addState };

  const lower = (node: Node): Lowering | undefined => {
    const request = readRequest(node);
    if (!request) return undefined;
    const { role, choice } = request;
    const kept = choice === 'f32' || choice === 'bf16' ? choice : undefined;
    if (role === 'linear') return lowerLinear(node, kept ?? phase.linear, linear);
    if (role === 'attention') return attention.lowerAttention(node, phase);
    return lowerEmbedding(node, kept ?? (recipe.embedding satisfies HighPrecision), rewriter);
  };

  for (const node of fn.nodes) {
    if (attention.lowerCacheWrite(node)) continue;
    const request = readRequest(node);
    const lowering = lower(node);
    if (!request || !lowering) rewriter.keep(node);
    else if ('code' in lowering) rewriter.keep(node, refusedAnnotation(node, lowering));
    else if (lowering.result === node.results[0]) {
      rewriter.keep(node, loweredAnnotation(node, request.role, lowering.precision));
    } else {
      rewriter.drop(node);
      rewriter.replace(node.results[0]!, lowering.result);
    }
  }
  return rewriter.finish();
}
