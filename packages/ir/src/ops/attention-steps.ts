/** @file What attention and its gradient have in common: operands, their checks, and the way to the probabilities. */
import { type AttributeSpec, attribute } from '../attribute.ts';
import type { GraphBuilder } from '../builder.ts';
import type { Dim } from '../dim.ts';
import { type DType, fp8DTypes } from '../dtype.ts';
import type { Value } from '../module.ts';
import { type OperandRecord, typeError } from '../op.ts';
import { formatType, type TensorType } from '../type.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { highPrecision, i32, scale as scaleOperand } from './operand-specs.ts';
import { checkSameType, checkShape, staticDim } from './shape-rules.ts';

/** Scale of probabilities in f8e4m3fn: 1 becomes 256, and nothing saturates. */
const PROBABILITY_SCALE = 2 ** -8;

type Tensor<Rank extends number> = { readonly dtypes: readonly DType[]; readonly rank: Rank };
type Optional<Rank extends number> = Tensor<Rank> & { readonly optional: true };

type Specs = {
  readonly q: Tensor<4>;
  readonly k: Tensor<4>;
  readonly v: Tensor<4>;
  readonly position: Tensor<1>;
  readonly k_scale: Optional<4>;
  readonly v_scale: Optional<4>;
  readonly first_key: Optional<2>;
};

const cached: Tensor<4> = { dtypes: [...highPrecision.dtypes, ...fp8DTypes], rank: 4 };
const cacheScale: Optional<4> = { ...scaleOperand, rank: 4, optional: true };

export const attentionOperands: Specs = {
  q: { ...highPrecision, rank: 4 },
  k: cached,
  v: cached,
  position: { ...i32, rank: 1 },
  k_scale: cacheScale,
  v_scale: cacheScale,
  first_key: { ...i32, rank: 2, optional: true },
};

export const attentionAttributes: {
  readonly scale: AttributeSpec<'f64'>;
  readonly window: AttributeSpec<'int'>;
  readonly probs: AttributeSpec<'string'>;
} = {
  scale: attribute.f64(),
  window: attribute.int(0),
  probs: attribute.oneOf(['f32', 'bf16', 'f8e4m3fn']),
};

type Types = OperandRecord<Specs, TensorType>;
type Values = OperandRecord<Specs, Value>;

interface AttentionAttributes {
  readonly scale: number;
  readonly window: number;
  readonly probs: string;
}

/** Throws unless the operands fit together; `op` is the one that asks. With `pages`, keys and values are not by row. */
export function checkAttention(
  op: string,
  types: Types,
  { window, probs }: AttentionAttributes,
  pages?: TensorType,
): void {
  const { q, k, v, position } = types;
  checkSameType(op, 'k', k, 'v', v);
  const [queryHeads, heads] = [staticDim(op, 'axis 2 of q', q.shape[2]!), staticDim(op, 'axis 2 of k', k.shape[2]!)];
  if (pages) checkShape(op, 'pages', pages, [q.shape[0]!, pages.shape[1]!], 'the pages of every row');
  if ((!pages && q.shape[0] !== k.shape[0]) || q.shape[3] !== k.shape[3] || heads === 0 || queryHeads % heads !== 0) {
    throw typeError(
      op,
      `q is ${formatType(q)} but k is ${formatType(k)}`,
      'Batch and head size must be equal, and query heads a multiple of key heads.',
    );
  }
  checkShape(op, 'position', position, q.shape.slice(0, 1), 'the position of the first query of every row');
  if (types.first_key) {
    checkShape(op, 'first_key', types.first_key, q.shape.slice(0, 2), 'the first key that each query sees');
  }
  checkPrecision(op, q, k, probs);
  checkCacheScale(op, 'k_scale', k, types.k_scale);
  checkCacheScale(op, 'v_scale', v, types.v_scale);
  if (window < 0) throw typeError(op, `window is ${window}`, '0 is no window.');
}

function checkPrecision(op: string, q: TensorType, k: TensorType, probs: string): void {
  const single = k.dtype === 'f32';
  if (single ? q.dtype === 'f32' && probs === 'f32' : q.dtype === 'bf16' && probs !== 'f32') return;
  throw typeError(
    op,
    `q is ${q.dtype}, k and v are ${k.dtype}, probs is ${probs}`,
    'f32 keys go with f32 queries and probabilities; bf16 and FP8 keys with bf16 queries and bf16 or f8e4m3fn probabilities.',
  );
}

function checkCacheScale(op: string, name: string, cache: TensorType, type: TensorType | undefined): void {
  if (type === undefined) return;
  if (!fp8DTypes.includes(cache.dtype)) throw typeError(op, `${name} is given but the cache is ${cache.dtype}`);
  checkShape(op, name, type, [...cache.shape.slice(0, 3), 1], 'one scale per token and head');
}

/** Keys and values as dot operands [B,S,Hq,D], and the probabilities [B,Hq,T,S] in f32 and rounded to `probs`. */
export interface AttentionParts {
  readonly keys: Value;
  readonly values: Value;
  readonly weights: Value;
  readonly rounded: Value;
}

export function attentionParts(
  g: GraphBuilder,
  x: Values,
  { scale, window, probs }: AttentionAttributes,
): AttentionParts {
  const heads = x.q.type.shape[2] as number;
  const keys = expandHeads(g, restore(g, x.k, x.k_scale), heads);
  const values = expandHeads(g, restore(g, x.v, x.v_scale), heads);
  const axes = { lhs_contract: [3], rhs_contract: [3], lhs_batch: [0, 2], rhs_batch: [0, 2] };
  const products = g.op('dot_general', [x.q, keys], axes, { name: 'scores' });
  const scores = g.op('multiply', [products, splatLike(g, scale, products)]);
  const visible = broadcastTo(g, visibility(g, x, window), scores.type.shape, [0, 2, 3]);
  const masked = g.op('select', [visible, scores, splatLike(g, Number.NEGATIVE_INFINITY, scores)]);
  const weights = g.op('softmax', [masked], { axis: 3 });
  return { keys, values, weights, rounded: roundProbabilities(g, weights, probs) };
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
function visibility(g: GraphBuilder, { q, k, position, first_key }: Values, window: number): Value {
  const shape = [q.type.shape[0]!, q.type.shape[1]!, k.type.shape[1]!];
  const indices = (axis: number) => g.op('iota', [], { dtype: 'i32', shape, axis });
  const compare = (direction: string, a: Value, b: Value) => g.op('compare', [a, b], { direction });
  const query = g.op('add', [broadcastTo(g, position, shape, [0]), indices(1)]);
  const key = indices(2);
  let visible = compare('LE', key, query);
  if (window > 0) {
    const oldest = g.op('subtract', [query, g.constant(window, 'i32', shape)]);
    visible = g.op('and', [visible, compare('GT', key, oldest)]);
  }
  if (!first_key) return visible;
  const packed = compare('GE', key, broadcastTo(g, first_key, shape, [0, 1]));
  return g.op('and', [visible, g.op('or', [packed, compare('EQ', key, query)])]);
}

function roundProbabilities(g: GraphBuilder, p: Value, probs: string): Value {
  if (probs !== 'f8e4m3fn') return g.convert(p, probs === 'bf16' ? 'bf16' : 'f32');
  const block = [0, 0, 0, 0];
  const scale = g.constant(PROBABILITY_SCALE, 'f32', [1, 1, 1, 1]);
  const quantized = g.op('quantize', [p, scale], { to: 'f8e4m3fn', block });
  return g.op('dequantize', [quantized, scale], { to: 'bf16', block });
}
