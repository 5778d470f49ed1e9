import type { GraphBuilder } from '../builder.ts';
import { type Dim, multiplyDims } from '../dim.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { attentionAttributes, attentionOperands, attentionParts, checkAttention } from './attention-steps.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { permuted, reshaped } from './gradient-steps.ts';
import { f32 } from './operand-specs.ts';
import { checkShape } from './shape-rules.ts';

/** Query rows of a partial sum of dk and dv. */
const ROWS = 64;

const { k_scale, v_scale, first_key, ...needed } = attentionOperands;

export const attentionGrad: OpDefinition = defineOp('attention_grad', {
  version: 1,
  summary:
    'What the loss changes by with q, k and v of attention, given dy; those of k and v are with respect to the numbers that FP8 ' +
    'codes stand for. Probabilities P are computed again. dP = dy * v; dS = (P * (dP - sum(dP * P))) * scale, the sum in the ' +
    'canonical order of row reductions. dq = dS * k with partial sums 128 keys long, counted from key 0. dk = dS * q and dv = ' +
    'round(P) * dy add up the query rows of a key head, token by token and in a token head by head, with partial sums 64 rows ' +
    'long. Beside f32 keys everything is f32; else dy and dS are rounded to bf16 before their products.',
  operands: { ...needed, dy: { ...f32, rank: 4 }, k_scale, v_scale, first_key },
  attributes: attentionAttributes,
  results: ['dq', 'dk', 'dv'],
  infer(types, attributes) {
    const { q, k, dy } = types;
    checkAttention('attention_grad', types, attributes);
    checkShape('attention_grad', 'dy', dy, q.shape, 'the shape of q');
    return [dy, { dtype: 'f32', shape: k.shape }, { dtype: 'f32', shape: k.shape }];
  },
  body(g, operands, attributes) {
    const { q, k, dy } = operands;
    const heads = k.type.shape[2] as number;
    const { keys, values, weights, rounded } = attentionParts(g, operands, attributes);
    const dOut = g.convert(dy, q.type.dtype as 'f32' | 'bf16');
    const axes = { lhs_contract: [3], rhs_contract: [3], lhs_batch: [0, 2], rhs_batch: [0, 2] };
    const dWeights = g.op('dot_general', [dOut, values], axes);
    const along = { kind: 'sum', axes: [3], keep: true };
    const mean = g.op('reduce', [g.op('multiply', [dWeights, weights])], along);
    const centered = g.op('subtract', [dWeights, broadcastTo(g, mean, dWeights.type.shape)]);
    const dMasked = g.op('multiply', [weights, centered]);
    const exact = g.op('multiply', [dMasked, splatLike(g, attributes.scale, dMasked)]);
    const dScores = g.convert(exact, q.type.dtype as 'f32' | 'bf16');
    const dq = g.op('dot_general', [dScores, keys], {
      lhs_contract: [3],
      rhs_contract: [1],
      lhs_batch: [0, 1],
      rhs_batch: [0, 2],
    });
    return [
      permuted(g, dq, [0, 2, 1, 3]),
      sumOfRows(g, rowsByHead(g, dScores, heads), rowsByKeyHead(g, q, heads)),
      sumOfRows(g, rowsByHead(g, rounded, heads), rowsByKeyHead(g, dOut, heads)),
    ];
  },
  flops: ({ q, k }) => 10 * q.shape.reduce((product, dim) => product * dim, 1) * k.shape[1]!,
});

/** [B,Hq,T,S] to [B,Hkv,T·G,S]: the query rows of every key head, heads within tokens. */
function rowsByHead(g: GraphBuilder, x: Value, keyHeads: number): Value {
  const [batch, heads, tokens, keys] = x.type.shape as [Dim, number, Dim, Dim];
  const group = heads / keyHeads;
  if (group === 1) return x;
  const grouped = permuted(g, reshaped(g, x, [batch, keyHeads, group, tokens, keys]), [0, 1, 3, 2, 4]);
  return reshaped(g, grouped, [batch, keyHeads, multiplyDims(tokens, group), keys]);
}

/** [B,T,Hq,D] to [B,Hkv,T·G,D]. */
function rowsByKeyHead(g: GraphBuilder, x: Value, keyHeads: number): Value {
  const [batch, tokens, heads, depth] = x.type.shape as [Dim, Dim, number, Dim];
  const group = heads / keyHeads;
  const grouped = permuted(g, reshaped(g, x, [batch, tokens, keyHeads, group, depth]), [0, 2, 1, 3, 4]);
  return reshaped(g, grouped, [batch, keyHeads, multiplyDims(tokens, group), depth]);
}

/** Σ over rows of a[B,Hkv,rows,S] · b[B,Hkv,rows,D], as [B,S,Hkv,D]. */
function sumOfRows(g: GraphBuilder, a: Value, b: Value): Value {
  const sums = g.op('dot_general', [a, b], {
    ...{ lhs_contract: [2], rhs_contract: [2], lhs_batch: [0, 1], rhs_batch: [0, 1] },
    promote: ROWS,
  });
  return permuted(g, sums, [0, 2, 1, 3]);
}
