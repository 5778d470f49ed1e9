import type { Node, Value } from '@quaver/ir';
import { describeProduct, type ProductQuantization, productPrecision } from '../recipe/linear-products.ts';
import type { LinearPrecision } from '../recipe/recipe.ts';
import { loweredAnnotation, type Refusal } from './annotations.ts';
import { contractedOperands, type LinearContext, quantizeActivation, quantizeWeight } from './linear-operands.ts';
import { inDType } from './precision-change.ts';
import { quantizedProduct } from './quantized-product.ts';

/** What a lowering did: the values that replace the node's results and the precision it has now, or why it did nothing. */
export type Lowering = { readonly results: readonly Value[]; readonly precision: string } | Refusal;

/** Rewrites a `dot_general` with a weight to the precision asked for. f32 operands only; the result stays f32. */
export function lowerLinear(node: Node, linear: LinearPrecision, context: LinearContext): Lowering {
  const [lhs, rhs] = node.operands as [Value, Value];
  const precision = productPrecision(linear, 'fprop');
  if (precision === 'f32') return { results: node.results, precision };
  if (lhs.type.dtype !== 'f32' || rhs.type.dtype !== 'f32') {
    return {
      code: 'operand-dtype',
      reason: `its operands are ${lhs.type.dtype} and ${rhs.type.dtype}, not f32`,
      hint: 'The source model chose a precision of its own for this layer; import it with f32 products.',
    };
  }
  return precision === 'bf16' ? toBf16(node, context) : toFp8(node, precision, context);
}

function toBf16(node: Node, { rewriter }: LinearContext): Lowering {
  const operands = node.operands.map((value) => inDType(rewriter, value!, 'bf16', node));
  const annotations = loweredAnnotation(node, 'linear', 'bf16');
  const result = rewriter.op('dot_general', operands, node.attributes, { location: node.location, annotations });
  return { results: [result], precision: 'bf16' };
}

function toFp8(node: Node, spec: ProductQuantization, context: LinearContext): Lowering {
  const refusal = refuseBatch(node) ?? refuseRank(node, context);
  if (refusal) return refusal;
  const { rewriter, weights } = context;
  const sides = contractedOperands(node, rewriter);
  const weightSide = weights.has(node.operands[1]!) ? 1 : 0;
  const weight = quantizeWeight(sides[weightSide], spec.rhs, node, rewriter);
  if ('code' in weight) return weight;
  const input = quantizeActivation(sides[1 - weightSide]!, 'input', spec.lhs, node, context);
  if ('code' in input) return input;
  const precision = describeProduct(spec);
  const operands = weightSide === 1 ? ([input, weight] as const) : ([weight, input] as const);
  const result = quantizedProduct(node, operands, sides, { role: 'linear', precision }, context);
  return 'code' in result ? result : { results: [result], precision };
}

export function refuseBatch({ attributes }: Node): Refusal | undefined {
  const batch = attributes.lhs_batch as readonly number[];
  if (batch.length === 0) return undefined;
  return {
    code: 'batched-dot',
    reason: `it has ${batch.length} batch axes and scaled_dot has none`,
    hint: 'Keep the layer in bf16 with a keep rule, or write it as one product per group.',
  };
}

function refuseRank({ operands }: Node, { weights }: LinearContext): Refusal | undefined {
  const [lhs, rhs] = operands as [Value, Value];
  const weight = weights.has(rhs) ? rhs : lhs;
  if (weight.type.shape.length === 2) return undefined;
  return {
    code: 'weight-rank',
    reason: `its weight has rank ${weight.type.shape.length}`,
    hint: 'FP8 linear layers take a weight of rank 2; reshape it in the model, or keep the layer in bf16.',
  };
}
