import type { FunctionRewriter, Node, StateVariable, Value } from '@quaver/ir';
import {
  type AmaxHistory,
  describeQuantization,
  type HighPrecision,
  type LinearPrecision,
  type Quantization,
  type QuantizedLinear,
} from '../recipe/recipe.ts';
import type { Refusal } from './annotations.ts';
import { inDType } from './precision-change.ts';
import {
  amaxHistoryState,
  blockOf,
  type QuantizedOperand,
  quantizeCurrent,
  quantizeDelayed,
} from './quantize-operand.ts';

/** What a lowering did: the value that replaces the node's result and the precision it has now, or why it did nothing. */
export type Lowering = { readonly result: Value; readonly precision: string } | Refusal;

export interface LinearContext {
  readonly rewriter: FunctionRewriter;
  /** Values of the source function that depend on parameters alone. */
  readonly weights: ReadonlySet<Value>;
  /** Remembers a state that the lowered node reads. */
  addState(state: StateVariable): void;
}

/** Rewrites a `dot_general` with a weight to the precision asked for. f32 operands only; the result stays f32. */
export function lowerLinear(node: Node, precision: LinearPrecision, context: LinearContext): Lowering {
  const [lhs, rhs] = node.operands as [Value, Value];
  if (precision === 'f32') return { result: node.results[0]!, precision };
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
  const annotations = annotationsOf(node, 'bf16');
  const result = rewriter.op('dot_general', operands, node.attributes, { location: node.location, annotations });
  return { result, precision: 'bf16' };
}

/** Also in f32 and for kept layers the annotation says what the node computes in. */
function annotationsOf(node: Node, precision: HighPrecision | string): Node['annotations'] {
  const { precision: _, ...rest } = node.annotations;
  return { ...rest, lowered: `linear ${precision}` };
}

function toFp8(node: Node, spec: QuantizedLinear, context: LinearContext): Lowering {
  const refusal = refuseShape(node, context);
  if (refusal) return refusal;
  const { rewriter, weights } = context;
  const [lhs, rhs] = node.operands as [Value, Value];
  const contracts = [axisOf(node, 'lhs_contract'), axisOf(node, 'rhs_contract')];
  const weightSide = weights.has(rhs) ? 1 : 0;
  const weight = weightSide === 1 ? rhs : lhs;
  const input = weightSide === 1 ? lhs : rhs;
  const quantizedWeight = quantizeWeight(weight, contracts[weightSide]!, spec.weight, node, rewriter);
  if ('code' in quantizedWeight) return quantizedWeight;
  const quantizedInput = quantizeInput(input, contracts[1 - weightSide]!, spec.input, node, context);
  if ('code' in quantizedInput) return quantizedInput;
  const restored = [quantizedInput, quantizedWeight].map((operand) => restore(operand, node, rewriter));
  const operands = weightSide === 1 ? restored : restored.toReversed();
  const precision = `${describeQuantization(spec.input)} x ${describeQuantization(spec.weight)}`;
  const origin = { location: node.location, annotations: annotationsOf(node, precision) };
  return { result: rewriter.op('dot_general', operands, node.attributes, origin), precision };
}

function refuseShape(node: Node, { weights }: LinearContext): Refusal | undefined {
  const batch = node.attributes.lhs_batch as readonly number[];
  if (batch.length > 0) {
    return {
      code: 'batched-dot',
      reason: `it has ${batch.length} batch axes and scaled_dot has none`,
      hint: 'Keep the layer in bf16 with a keep rule, or write it as one product per group.',
    };
  }
  const [lhs, rhs] = node.operands as [Value, Value];
  const weight = weights.has(rhs) ? rhs : lhs;
  if (weight.type.shape.length === 2) return undefined;
  return {
    code: 'weight-rank',
    reason: `its weight has rank ${weight.type.shape.length}`,
    hint: 'FP8 linear layers take a weight of rank 2; reshape it in the model, or keep the layer in bf16.',
  };
}

function axisOf(node: Node, attribute: 'lhs_contract' | 'rhs_contract'): number {
  return (node.attributes[attribute] as readonly number[])[0]!;
}

/** A weight that comes in FP8 already is taken as it is when its format and blocks are the recipe's, never quantized again. */
function quantizeWeight(
  weight: Value,
  contract: number,
  spec: Quantization,
  node: Node,
  rewriter: FunctionRewriter,
): QuantizedOperand | Refusal {
  const wanted = blockOf(spec.granularity, weight.type.shape.length, contract);
  const producer = rewriter.producer(weight);
  if (producer?.op !== 'dequantize') return quantizeCurrent(rewriter, rewriter.resolve(weight), wanted, spec, node);
  const [codes, scale] = producer.operands as [Value, Value];
  const block = producer.attributes.block as readonly number[];
  if (codes.type.dtype === spec.format && block.join() === wanted.join()) return { codes, scale, block };
  return {
    code: 'weight-already-quantized',
    reason: `its weight is stored as ${codes.type.dtype} in blocks [${block}], the recipe asks for ${spec.format} in [${wanted}]`,
    hint: 'Quantizing twice loses accuracy. Use a recipe with the blocks of the checkpoint, or import a bf16 checkpoint.',
  };
}

function quantizeInput(
  x: Value,
  contract: number,
  spec: Quantization,
  node: Node,
  { rewriter, addState }: LinearContext,
): QuantizedOperand | Refusal {
  const resolved = rewriter.resolve(x);
  if (!hasHistory(spec)) {
    return quantizeCurrent(
      rewriter,
      resolved,
      blockOf(spec.granularity, resolved.type.shape.length, contract),
      spec,
      node,
    );
  }
  if (node.location === '') {
    return {
      code: 'location-missing',
      reason: 'a delayed scale needs a named amax history and this layer has no location',
      hint: 'Give the node a location in the source model.',
    };
  }
  const state = amaxHistoryState(node.location, 'input', spec.history);
  addState(state);
  return quantizeDelayed(rewriter, resolved, spec, state, node);
}

function hasHistory(spec: Quantization): spec is Quantization & { readonly history: AmaxHistory } {
  return spec.history !== undefined;
}

function restore({ codes, scale, block }: QuantizedOperand, node: Node, rewriter: FunctionRewriter): Value {
  return rewriter.op('dequantize', [codes, scale], { to: 'f32', block }, { location: node.location });
}
