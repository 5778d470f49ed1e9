import {
  FunctionRewriter,
  type GraphFunction,
  type Module,
  type Node,
  type OpRegistry,
  type StateVariable,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { isGradient, layerLocation } from '../autodiff/gradient-marks.ts';
import { phaseOf } from '../graph/phase.ts';
import { parameterOnlyValues } from '../graph/value-uses.ts';
import { AmaxRecorder } from '../lowering/amax-recorder.ts';
import {
  linearProduct,
  loweredAnnotation,
  type PrecisionRequest,
  type Refusal,
  type Role,
  readRequest,
  refusedAnnotation,
} from '../lowering/annotations.ts';
import { type CachePlan, planCaches } from '../lowering/cache-plan.ts';
import { GradientRounding } from '../lowering/gradient-rounding.ts';
import type { LinearContext } from '../lowering/linear-operands.ts';
import { AttentionLowering, cacheDType, scaleStateName } from '../lowering/lower-attention.ts';
import { lowerEmbedding } from '../lowering/lower-embedding.ts';
import { lowerGradientProduct } from '../lowering/lower-gradient-product.ts';
import { type Lowering, lowerLinear } from '../lowering/lower-linear.ts';
import type { Pass } from '../pass.ts';
import { parseRecipe } from '../recipe/parse-recipe.ts';
import type { HighPrecision, LinearPrecision, Recipe } from '../recipe/recipe.ts';

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
      lowerFunction(new FunctionRewriter(fn, registry), { module, recipe, registry, caches, added }),
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

interface Shared {
  readonly module: Module;
  readonly recipe: Recipe;
  readonly registry: OpRegistry;
  readonly caches: CachePlan;
  /** States that lowered nodes read, by name. */
  readonly added: Map<string, StateVariable>;
}

function lowerFunction(rewriter: FunctionRewriter, shared: Shared): GraphFunction {
  const { module, recipe, registry, caches, added } = shared;
  const fn = rewriter.source;
  const phase = phaseOf(module, fn.name);
  const precision = recipe[phase];
  const attention = new AttentionLowering(rewriter, registry, caches);
  const addState = (state: StateVariable) => added.set(state.name, state);
  const recorder = new AmaxRecorder(rewriter, phase === 'train' && fn.nodes.some(isGradient), addState);
  const rounding = new GradientRounding(rewriter, addState);
  const weights = parameterOnlyValues(fn);
  const linears = new LinearLowering({ rewriter, registry, weights, recorder, rounding, addState });

  const lower = (node: Node, { role, choice }: PrecisionRequest): Lowering => {
    const kept = choice === 'f32' || choice === 'bf16' ? choice : undefined;
    if (role === 'embedding') return lowerEmbedding(node, kept ?? (recipe.embedding satisfies HighPrecision), rewriter);
    if (role === 'attention' || role === 'attention.gradient') return attention.lowerAttention(node, role, precision);
    return linears.lower(node, role, kept ?? precision.linear);
  };

  for (const node of fn.nodes) {
    if (attention.lowerCacheWrite(node)) continue;
    const request = readRequest(node);
    const lowering = request && lower(node, request);
    if (!request || !lowering) rewriter.keep(node);
    else if ('code' in lowering) rewriter.keep(node, refusedAnnotation(node, lowering));
    else if (lowering.results === node.results) {
      rewriter.keep(node, loweredAnnotation(node, request.role, lowering.precision));
    } else {
      rewriter.drop(node);
      for (const [i, value] of node.results.entries()) rewriter.replace(value, lowering.results[i]!);
    }
  }
  recorder.finish();
  rounding.finish();
  return rewriter.finish();
}

/** The products of linear layers. A layer whose forward product keeps its precision keeps that of its gradients too. */
class LinearLowering {
  readonly #context: LinearContext;
  readonly #refused = new Map<string, Refusal>();

  constructor(context: LinearContext) {
    this.#context = context;
  }

  lower(node: Node, role: Role, linear: LinearPrecision): Lowering {
    const product = linearProduct(role);
    const layer = layerLocation(node);
    if (product !== 'dgrad' && product !== 'wgrad') {
      const lowering = lowerLinear(node, linear, this.#context);
      if ('code' in lowering) this.#refused.set(layer, lowering);
      return lowering;
    }
    return this.#refused.get(layer) ?? lowerGradientProduct(node, product, linear, this.#context);
  }
}
