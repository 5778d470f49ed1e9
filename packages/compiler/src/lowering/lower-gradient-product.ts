import type { FunctionRewriter, Node } from '@quaver/ir';
import type { GradientProduct } from '../autodiff/gradient-marks.ts';
import { describeProduct, type ProductQuantization, productPrecision } from '../recipe/linear-products.ts';
import type { LinearPrecision, Quantization } from '../recipe/recipe.ts';
import { loweredAnnotation } from './annotations.ts';
import {
  type Contracted,
  contractedOperands,
  inBf16,
  type LinearContext,
  quantizeActivation,
  quantizeWeight,
} from './linear-operands.ts';
import { type Lowering, refuseBatch } from './lower-linear.ts';
import { quantizedProduct } from './quantized-product.ts';

/**
 * Rewrites dgrad = dy · W or wgrad = dyᵀ · x of a linear layer (dy is always the left operand) to the precision asked for. Each
 * operand is quantized along the axis that this product contracts, from its f32 value; a weight whose blocks are squares has the
 * codes of the forward product, and `cse` makes one of both.
 */
export function lowerGradientProduct(
  node: Node,
  product: GradientProduct,
  linear: LinearPrecision,
  context: LinearContext,
): Lowering {
  const precision = productPrecision(linear, product);
  if (precision === 'f32') return { results: node.results, precision };
  return precision === 'bf16' ? toBf16(node, product, context) : toFp8(node, product, precision, context);
}

function toBf16(node: Node, product: GradientProduct, { rewriter }: LinearContext): Lowering {
  const operands = node.operands.map((value) => inBf16(rewriter, value!, node));
  const origin = { location: node.location, annotations: loweredAnnotation(node, `linear.${product}`, 'bf16') };
  return { results: [rewriter.op('dot_general', operands, node.attributes, origin)], precision: 'bf16' };
}

function toFp8(node: Node, product: GradientProduct, spec: ProductQuantization, context: LinearContext): Lowering {
  const refusal = refuseBatch(node);
  if (refusal) return refusal;
  const { rewriter } = context;
  const found = contractedOperands(node, rewriter);
  const sides = [
    contractedLast(found[0], spec.lhs, node, rewriter),
    contractedLast(found[1], spec.rhs, node, rewriter),
  ] as const;
  const dy = quantizeActivation(sides[0], 'grad_output', spec.lhs, node, context);
  if ('code' in dy) return dy;
  const other =
    product === 'dgrad'
      ? quantizeWeight(sides[1], spec.rhs, node, rewriter)
      : quantizeActivation(sides[1], 'input', spec.rhs, node, context);
  if ('code' in other) return other;
  const precision = describeProduct(spec);
  const result = quantizedProduct(node, [dy, other], sides, { role: `linear.${product}`, precision }, context);
  return 'code' in result ? result : { results: [result], precision };
}

/**
 * A matrix whose scales come from its rows alone, with the contracted axis last: rows of blocks are what kernels quantize and
 * multiply without a detour, and one f32 transpose is all it takes. Other scales do not depend on the order of the axes.
 */
function contractedLast(
  { value, axis }: Contracted,
  { granularity }: Quantization,
  { location }: Node,
  rewriter: FunctionRewriter,
): Contracted {
  const isRowLocal = granularity === 'row' || (typeof granularity === 'object' && granularity.block[0] === 1);
  const isStored = rewriter.producer(value)?.op === 'dequantize';
  if (!isRowLocal || isStored || axis !== 0 || value.type.shape.length !== 2) return { value, axis };
  return { value: rewriter.op('transpose', [value], { permutation: [1, 0] }, { location }), axis: 1 };
}
