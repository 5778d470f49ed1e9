import {
  type FunctionRewriter,
  type Node,
  type NodeOrigin,
  type OpRegistry,
  type Value,
  writesInPlace,
} from '@quaver/ir';
import type { AttentionPrecision, PhasePrecision } from '../recipe/recipe.ts';
import { loweredAnnotation } from './annotations.ts';
import type { CachePlan } from './cache-plan.ts';
import type { Lowering } from './lower-linear.ts';
import { inDType } from './precision-change.ts';
import { quantizeCurrent } from './quantize-operand.ts';

/** One scale per token and head. */
const tokenAndHead = [1, 1, 1, 0];
const powerOfTwo = { format: 'f8e4m3fn', scale: { rounding: 'pow2_up', dtype: 'f8e8m0fnu' } } as const;

/** Keys or values as attention reads them. */
interface AttentionOperand {
  readonly value: Value;
  readonly scale: Value | undefined;
}

/** Lowers the caches and attention nodes of one function; the module-wide plan says which caches change. */
export class AttentionLowering {
  readonly #rewriter: FunctionRewriter;
  readonly #registry: OpRegistry;
  readonly #plan: CachePlan;
  /** By the value that the source function reads after writing new tokens. */
  readonly #caches = new Map<Value, AttentionOperand>();
  /** By source value: what is quantized once is not quantized again. */
  readonly #direct = new Map<Value, AttentionOperand>();

  constructor(rewriter: FunctionRewriter, registry: OpRegistry, plan: CachePlan) {
    this.#rewriter = rewriter;
    this.#registry = registry;
    this.#plan = plan;
    for (const state of rewriter.source.states) {
      const dtype = cacheDType(plan.precision.get(state.ref!));
      if (dtype) rewriter.retype(state, { ...state.type, dtype });
    }
  }

  /** Rewrites a write of new tokens into a cache; false when the node is none, or its cache stays as it is. */
  lowerCacheWrite(node: Node): boolean {
    const [state, tokens, ...where] = node.operands as readonly [Value, Value, ...Value[]];
    const precision = state?.kind === 'state' ? this.#plan.precision.get(state.ref!) : undefined;
    if (!writesInPlace(node) || precision === undefined || precision === 'f32') return false;
    const rewriter = this.#rewriter;
    const write = (to: Value, update: Value) =>
      rewriter.op(node.op, [to, update, ...where], node.attributes, { location: node.location });
    const { value, scale } = this.#inCachePrecision(tokens, precision, node);
    const written = write(state, value);
    const result = node.results[0]!;
    let writtenScale: Value | undefined;
    if (scale) {
      const shape = [...state.type.shape.slice(0, 3), 1];
      const scales = rewriter.state({ name: scaleStateName(state.ref!), type: { dtype: scale.type.dtype, shape } });
      writtenScale = write(scales, scale);
      const stored = rewriter.source.updates.some((update) => update.value === result);
      if (stored) rewriter.update(scaleStateName(state.ref!), writtenScale);
    }
    this.#caches.set(result, { value: written, scale: writtenScale });
    rewriter.drop(node);
    rewriter.replace(result, written);
    return true;
  }

  /**
   * Lowers `attention`, or its gradient: that gets the same queries, keys and values, so that the probabilities that it computes
   * again are those of the forward pass bit by bit. The gradient of the result stays f32; the op rounds it for its products.
   */
  lowerAttention(node: Node, role: 'attention' | 'attention.gradient', phase: PhasePrecision): Lowering {
    const rewriter = this.#rewriter;
    const op = this.#registry.get(node.domain, node.op, node.version);
    const names = Object.keys(op.operands);
    const given = Object.fromEntries(names.map((name, i) => [name, node.operands[i]]));
    const { q, k, v, k_scale } = given;
    if (k_scale !== undefined || [q, k, v].some((value) => value!.type.dtype !== 'f32')) {
      return phase.attention === 'f32'
        ? { results: node.results, precision: q!.type.dtype }
        : {
            code: 'operand-dtype',
            reason: `its operands are ${q!.type.dtype}, ${k!.type.dtype} and ${v!.type.dtype}, not f32`,
            hint: 'The source model chose a precision of its own for attention; import it with f32 attention.',
          };
    }
    for (const value of [k!, v!]) {
      const refusal = this.#refusalFor(value);
      if (refusal && phase.attention !== 'f32') return refusal;
    }
    if (phase.attention === 'f32') return { results: node.results, precision: 'f32' };
    const keys = this.#operand(k!, phase.kv_cache, node);
    const values = this.#operand(v!, phase.kv_cache, node);
    const lowered: Readonly<Record<string, Value | undefined>> = {
      ...given,
      q: phase.attention === 'fp8' ? this.#onGrid(q!, node) : inDType(rewriter, q!, 'bf16', node),
      k: keys.value,
      v: values.value,
      k_scale: keys.scale,
      v_scale: values.scale,
    };
    const precision = `${phase.attention}, keys and values ${phase.kv_cache}`;
    const origin = { location: node.location, annotations: loweredAnnotation(node, role, precision) };
    const attributes = { ...node.attributes, probs: phase.attention === 'fp8' ? 'f8e4m3fn' : 'bf16' };
    const operands = names.map((name) => lowered[name]);
    return { results: rewriter.apply(op, operands, attributes, origin), precision };
  }

  #refusalFor(value: Value) {
    const node = this.#rewriter.producer(value);
    const state = node && writesInPlace(node) ? node.operands[0] : undefined;
    return state?.kind === 'state' ? this.#plan.refused.get(state.ref!) : undefined;
  }

  #operand(value: Value, precision: AttentionPrecision, origin: NodeOrigin): AttentionOperand {
    const cached = this.#caches.get(value) ?? this.#direct.get(value);
    if (cached) return cached;
    const direct = this.#inCachePrecision(value, precision, origin);
    this.#direct.set(value, direct);
    return direct;
  }

  #inCachePrecision(value: Value, precision: AttentionPrecision, origin: NodeOrigin): AttentionOperand {
    const rewriter = this.#rewriter;
    if (precision !== 'fp8') return { value: inDType(rewriter, value, 'bf16', origin), scale: undefined };
    const { codes, scale } = quantizeCurrent(rewriter, rewriter.resolve(value), tokenAndHead, powerOfTwo, origin);
    return { value: codes, scale };
  }

  /** Queries on the E4M3 grid, in bf16: the product of a code and a power of two is exact there. */
  #onGrid(q: Value, { location }: NodeOrigin): Value {
    const rewriter = this.#rewriter;
    const { codes, scale, block } = quantizeCurrent(rewriter, rewriter.resolve(q), tokenAndHead, powerOfTwo, {
      location,
    });
    return rewriter.op('dequantize', [codes, scale], { to: 'bf16', block }, { location });
  }
}

/** The element type of a cache state, or undefined when it stays as it is. */
export function cacheDType(precision: AttentionPrecision | undefined): 'bf16' | 'f8e4m3fn' | undefined {
  if (precision === 'bf16') return 'bf16';
  return precision === 'fp8' ? 'f8e4m3fn' : undefined;
}

export function scaleStateName(state: string): string {
  return `${state}_scale`;
}
