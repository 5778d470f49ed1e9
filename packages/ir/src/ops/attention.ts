import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, stopped, typeError } from '../op.ts';
import { attentionGrad } from './attention-grad.ts';
import { attentionAttributes, attentionOperands, attentionParts, checkAttention } from './attention-steps.ts';
import { i32 } from './operand-specs.ts';

export const attention: OpDefinition = defineOp('attention', {
  version: 1,
  summary:
    'Causal scaled dot-product attention with grouped query heads. Query t of row b sees keys j <= position[b] + t, and ' +
    'with a window only j > position[b] + t - window. With first_key, of packed sequences, it sees only keys ' +
    'j >= first_key[b, t] and its own key: a first_key beyond the position of the query counts as that position. ' +
    'Probabilities are rounded to probs before the second product, whose partial sums are 128 keys long, counted from key 0. ' +
    'With pages[B,N], k, v and their scales are pages [P,S,...], and key j of row b is slot j mod S of page pages[b, j div S], ' +
    'zeros where that is not 0 to P-1.',
  operands: { ...attentionOperands, pages: { ...i32, rank: 2, optional: true } },
  attributes: attentionAttributes,
  results: ['y'],
  infer(types, attributes) {
    checkAttention('attention', types, attributes, types.pages);
    return [{ dtype: 'f32', shape: types.q.shape }];
  },
  body(g, operands, attributes) {
    const { k, v, k_scale, v_scale, pages } = operands;
    const rowByRow = (cache: Value) => (pages ? g.op('paged_gather', [cache, pages]) : cache);
    const caches = {
      k: rowByRow(k),
      v: rowByRow(v),
      k_scale: k_scale && rowByRow(k_scale),
      v_scale: v_scale && rowByRow(v_scale),
    };
    const { rounded, values } = attentionParts(g, { ...operands, ...caches }, attributes);
    const mixed = g.op('dot_general', [rounded, values], {
      lhs_contract: [3],
      rhs_contract: [1],
      lhs_batch: [0, 1],
      rhs_batch: [0, 2],
    });
    return [g.op('transpose', [mixed], { permutation: [0, 2, 1, 3] })];
  },
  /** Positions are no numbers to differentiate by, and scales count as constant. */
  gradient(g, { operands, attributes, cotangents: [dy] }) {
    const { q, k, v, position, k_scale, v_scale, first_key, pages } = operands;
    if (pages)
      throw typeError('attention', 'its keys and values are in pages', 'Only whole sequences have a gradient.');
    const [dq, dk, dv] = g.apply(attentionGrad, [q, k, v, position, dy, k_scale, v_scale, first_key], attributes);
    return { q: dq!, k: dk!, v: dv!, k_scale: stopped, v_scale: stopped };
  },
  flops: ({ q, k, pages }) =>
    4 * q.shape.reduce((product, dim) => product * dim, 1) * k.shape[1]! * (pages ? pages.shape[1]! : 1),
});
