import type { Attributes, Node, OpRegistry, TensorType, Value } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { loweredAnnotation, type Refusal, type Role } from './annotations.ts';
import type { Contracted, LinearContext } from './linear-operands.ts';
import type { QuantizedOperand } from './quantize-operand.ts';

/** The product of what two quantized operands stand for; `fp8-fuse-scaled-dot` makes one node of it. */
export function quantizedProduct(
  node: Node,
  operands: readonly [QuantizedOperand, QuantizedOperand],
  [lhs, rhs]: readonly [Contracted, Contracted],
  { role, precision }: { readonly role: Role; readonly precision: string },
  { rewriter, registry }: LinearContext,
): Value | Refusal {
  const axes = { lhs_contract: [lhs.axis], rhs_contract: [rhs.axis], promote: node.attributes.promote! };
  const [left, right] = operands;
  const problem = scaledDotProblem(
    registry,
    [left.codes, right.codes, left.scale, right.scale].map((value) => value.type),
    { ...axes, lhs_block: left.block, rhs_block: right.block },
  );
  if (problem !== undefined) {
    return {
      code: 'scaled-dot-rules',
      reason: `its quantized operands do not make a scaled_dot: ${problem}`,
      hint: 'Give both operands blocks along the contracted axis that divide each other and the partial sums, or keep the layer in bf16.',
    };
  }
  const { location } = node;
  const restored = operands.map(({ codes, scale, block }) =>
    rewriter.op('dequantize', [codes, scale], { to: 'f32', block }, { location }),
  );
  const origin = { location, annotations: loweredAnnotation(node, role, precision) };
  return rewriter.op('dot_general', restored, { ...axes, lhs_batch: [], rhs_batch: [] }, origin);
}

/** Why scaled_dot does not take these operands: their blocks do not fit its partial sums; undefined when it does. */
export function scaledDotProblem(
  registry: OpRegistry,
  operands: readonly (TensorType | undefined)[],
  attributes: Attributes,
): string | undefined {
  try {
    registry.latest('core', 'scaled_dot').infer(operands, attributes);
    return undefined;
  } catch (error) {
    if (error instanceof QuaverError && error.code === 'op-type') return error.message;
    throw error;
  }
}
