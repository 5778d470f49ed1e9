import { attribute } from '../attribute.ts';
import type { GraphBuilder } from '../builder.ts';
import type { Dim } from '../dim.ts';
import { fp8DTypes } from '../dtype.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { formatType, type TensorType } from '../type.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { highPrecision, i32, scale as scaleOperand } from './operand-specs.ts';
import { checkSameType, checkShape, staticDim } from './shape-rules.ts';

/** Scale of probabilities in f8e4m3fn: 1 becomes 256, and nothing saturates. */
const PROBABILITY_SCALE = 2 ** -8;

const cached = { dtypes: [...highPrecision.dtypes, ...fp8DTypes], rank: 4 } as const;
const cacheScale = { ...scaleOperand, rank: 4, optional: true } as const;

export const attention: OpDefinition = defineOp('attention', {
  version: 1,
  summary:
    'Causal scaled dot-product attention with grouped query heads. Query t of row b sees keys j <= position[b] + t, and ' +
    'with a window only j > position[b] + t - window. Probabilities are rounded to probs before the second product, ' +
    'whose partial sums are 128 keys long, counted from key 0.',
  operands: {
    q: { ...highPrecision, rank: 4 },
    k: cached,
    v: cached,
    position: { ...i32, rank: 1 },
    k_scale: cacheScale,
    v_scale: cacheScale,
  },
  attributes: {
    scale: attribute.f64(),
    window: attribute.int(0),
    probs: attribute.oneOf(['f32', 'bf16', 'f8e4m3fn']),
  },
  results: ['y'],
  infer(types, { window, probs }) {
    const { q, k, v, position } = types;
    checkSameType('attention', 'k', k, 'v', v);
    const [queryHeads, heads] = [
      staticDim('attention', 'axis 2 of q', q.shape[2]!),
      staticDim('attention', 'axis 2 of k', k.shape[2]!),
    ];
    if (q.shape[0] !== k.shape[0] || q.shape[3] !== k.shape[3] || heads === 0 || queryHeads % heads !== 0) {
      throw typeError(
        'attention',
        `q is ${formatType(q)} but k is ${formatType(k)}`,
        'Batch and head size must be equal, and query heads a multiple of key heads.',
      );
    }
    checkShape('attention', 'position', position, q.shape.slice(0, 1), 'the position of the first query of every row');
    checkPrecision(q, k, probs);
    checkCacheScale('k_scale', k, types.k_scale);
    checkCacheScale('v_scale', v, types.v_scale);
    if (window < 0) throw typeError('attention', `window is ${window}`, '0 is no window.');
    return [{ dtype: 'f32', shape: q.shape }];
  },
  body(g, { q, k, v, position, k_scale, v_scale }, { scale, window, probs }) {
    const heads = q.type.shape[2] as number;
    const keys = expandHeads(g, restore(g, k, k_scale), heads);
    const values = expandHeads(g, restore(g, v, v_scale), heads);
    const axes = { lhs_contract: [3], rhs_contract: [3], lhs_batch: [0, 2], rhs_batch: [0, 2] };
    const products = g.op('dot_general', [q, keys], axes, { name: 'scores' });
    const scores = g.op('multiply', [products, splatLike(g, scale, products)]);
    const visible = broadcastTo(g, visibility(g, position, q, k, window), scores.type.shape, [0, 2, 3]);
    const masked = g.op('select', [visible, scores, splatLike(g, Number.NEGATIVE_INFINITY, scores)]);
    const weights = roundProbabilities(g, g.op('softmax', [masked], { axis: 3 }), probs);
    const mixed = g.op('dot_general', [weights, values], {
      lhs_contract: [3],
      rhs_contract: [1],
      lhs_batch: [0, 1],
      rhs_batch: [0, 2],
    });
    return [g.op('transpose', [mixed], { permutation: [0, 2, 1, 3] })];
  },
  flops: ({ q, k }) => 4 * q.shape.reduce((product, dim) => product * dim, 1) * k.shape[1]!,
});

function checkPrecision(q: TensorType, k: TensorType, probs: string): void {
  const single = k.dtype === 'f32';
  if (single ? q.dtype === 'f32' && probs === 'f32' : q.dtype === 'bf16' && probs !== 'f32') return;
  throw typeError(
    'attention',
    `q is ${q.dtype}, k and v are ${k.dtype}, probs is ${probs}`,
    'f32 keys go with f32 queries and probabilities; bf16 and FP8 keys with bf16 queries and bf16 or f8e4m3fn probabilities.',
  );
}

function checkCacheScale(name: string, cache: TensorType, type: TensorType | undefined): void {
  if (type === undefined) return;
  if (!fp8DTypes.includes(cache.dtype))
    throw typeError('attention', `${name} is given but the cache is ${cache.dtype}`);
  checkShape('attention', name, type, [...cache.shape.slice(0, 3), 1], 'one scale per token and head');
}

/** FP8 keys or values as bf16; others as they are. */
function restore(g: GraphBuilder, x: Value, xScale: Value | undefined): Value {
  if (!fp8DTypes.includes(x.type.dtype)) return x;
  if (xScale === undefined) return g.convert(x, 'bf16');
  return g.op('dequantize', [x, xScale], { to: 'bf16', block: [1, 1, 1, 0] });
}

/** [B,S,Hkv,D] to [B,S,Hq,D]: query head h reads key head ⌊h / (Hq / Hkv)⌋. */
function expandHeads(g: GraphBuilder, x: Value, queryHeads: number): Value {
  const [batch, tokens, heads, depth] = x.type.shape as [Dim, Dim, number, Dim];
  if (heads === queryHeads) return x;
  const grouped = broadcastTo(g, x, [batch, tokens, heads, queryHeads / heads, depth], [0, 1, 2, 4]);
  return g.op('reshape', [grouped], { shape: [batch, tokens, queryHeads, depth] });
}

/** bool [B,T,S]: which keys each query sees. */
function visibility(g: GraphBuilder, position: Value, q: Value, k: Value, window: number): Value {
  const shape = [q.type.shape[0]!, q.type.shape[1]!, k.type.shape[1]!];
  const indices = (axis: number) => g.op('iota', [], { dtype: 'i32', shape, axis });
  const query = g.op('add', [broadcastTo(g, position, shape, [0]), indices(1)]);
  const key = indices(2);
  const causal = g.op('compare', [key, query], { direction: 'LE' });
  if (window === 0) return causal;
  const oldest = g.op('subtract', [query, g.constant(window, 'i32', shape)]);
  return g.op('and', [causal, g.op('compare', [key, oldest], { direction: 'GT' })]);
}

function roundProbabilities(g: GraphBuilder, p: Value, probs: string): Value {
  if (probs !== 'f8e4m3fn') return g.convert(p, probs === 'bf16' ? 'bf16' : 'f32');
  const block = [0, 0, 0, 0];
  const scale = g.constant(PROBABILITY_SCALE, 'f32', [1, 1, 1, 1]);
  const quantized = g.op('quantize', [p, scale], { to: 'f8e4m3fn', block });
  return g.op('dequantize', [quantized, scale], { to: 'bf16', block });
}
