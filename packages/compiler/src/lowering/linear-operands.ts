/** @file The two operands of a product of a linear layer in the precision that it computes in. */
import type { FunctionRewriter, Node, OpRegistry, StateVariable, Value } from '@quaver/ir';
import { isGradient, layerLocation, readGradientProduct } from '../autodiff/gradient-marks.ts';
import type { AmaxHistory, Quantization } from '../recipe/recipe.ts';
import type { AmaxRecorder } from './amax-recorder.ts';
import type { Refusal } from './annotations.ts';
import type { GradientRounding } from './gradient-rounding.ts';
import { inDType } from './precision-change.ts';
import {
  amaxHistoryState,
  blockOf,
  type Cast,
  nearest,
  type QuantizedOperand,
  quantizeCurrent,
  quantizeDelayed,
} from './quantize-operand.ts';

export interface LinearContext {
  readonly rewriter: FunctionRewriter;
  readonly registry: OpRegistry;
  /** Values of the source function that depend on parameters alone. */
  readonly weights: ReadonlySet<Value>;
  /** Writes down the amax of what has a delayed scale, where functions train. */
  readonly recorder: AmaxRecorder;
  /** Casts for quantizations whose rounding is stochastic. */
  readonly rounding: GradientRounding;
  /** Remembers a state that the lowered node reads. */
  addState(state: StateVariable): void;
}

/** An operand, and the axis of it that the product contracts. */
export interface Contracted {
  readonly value: Value;
  readonly axis: number;
}

/** The operands of a product. A matrix that was transposed for it is taken as it was, with the other axis contracted. */
export function contractedOperands(
  { operands, attributes }: Node,
  rewriter: FunctionRewriter,
): readonly [Contracted, Contracted] {
  const side = (i: number, attribute: string): Contracted => {
    const value = rewriter.resolve(operands[i]!);
    const axis = (attributes[attribute] as readonly number[])[0]!;
    const producer = rewriter.producer(value);
    if (producer?.op !== 'transpose' || value.type.shape.length !== 2) return { value, axis };
    return { value: producer.operands[0]!, axis: (producer.attributes.permutation as readonly number[])[axis]! };
  };
  return [side(0, 'lhs_contract'), side(1, 'rhs_contract')];
}

/** A weight that comes in FP8 already is taken as it is when its format and blocks are the recipe's, never quantized again. */
export function quantizeWeight(
  { value: weight, axis }: Contracted,
  spec: Quantization,
  node: Node,
  rewriter: FunctionRewriter,
): QuantizedOperand | Refusal {
  const wanted = blockOf(spec.granularity, weight.type.shape.length, axis);
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

/** Inputs and gradients, always from their high-precision values. */
export function quantizeActivation(
  { value, axis }: Contracted,
  role: 'input' | 'grad_output',
  spec: Quantization,
  node: Node,
  context: LinearContext,
): QuantizedOperand | Refusal {
  const { rewriter, recorder, addState } = context;
  const x = rewriter.resolve(value);
  const block = blockOf(spec.granularity, x.type.shape.length, axis);
  const isWhole = block.every((size) => size === 0);
  const cast = castOf(spec, isWhole, node, context);
  if (!hasHistory(spec)) {
    if (!isWhole) return quantizeCurrent(rewriter, x, block, spec, node, cast);
    return quantizeUnshaped(rewriter, x, node, (source) =>
      quantizeCurrent(rewriter, source, blockOf(spec.granularity, source.type.shape.length, 0), spec, node, cast),
    );
  }
  const layer = layerLocation(node);
  if (layer === '') {
    return {
      code: 'location-missing',
      reason: 'a delayed scale needs a named amax history and this layer has no location',
      hint: 'Give the node a location in the source model.',
    };
  }
  const state = amaxHistoryState(layer, role, spec.history);
  addState(state);
  return quantizeUnshaped(rewriter, x, node, (source) => {
    if (role === 'grad_output' || isForward(node)) recorder.observe(state, source, node);
    return quantizeDelayed(rewriter, source, spec, state, node, cast);
  });
}

/** With one scale for all elements both gradient products have the same codes, else each draws numbers of its own. */
function castOf({ rounding }: Quantization, isWhole: boolean, node: Node, context: LinearContext): Cast {
  if (rounding !== 'stochastic') return nearest(context.rewriter);
  const layer = layerLocation(node) || node.results[0]!.name;
  return context.rounding.cast(`${layer}.${isWhole ? 'grad_output' : readGradientProduct(node)}`);
}

/** The forward product itself: wgrad, and a layer that is computed again for the backward pass, have the same input. */
function isForward(node: Node): boolean {
  return !isGradient(node) && node.annotations.recomputed === undefined;
}

function hasHistory(spec: Quantization): spec is Quantization & { readonly history: AmaxHistory } {
  return spec.history !== undefined;
}

/**
 * With one scale for all elements their shape does not matter: what a product sees reshaped is quantized as it was made, and
 * then the codes are reshaped. So the forward product and wgrad, which merges the axes of tokens, share one quantization.
 */
function quantizeUnshaped(
  rewriter: FunctionRewriter,
  x: Value,
  { location }: Node,
  quantize: (source: Value) => QuantizedOperand,
): QuantizedOperand {
  const source = beforeReshape(rewriter, x);
  const { codes, scale } = quantize(source);
  const block = x.type.shape.map(() => 0);
  if (source === x) return { codes, scale, block };
  const ones = x.type.shape.map(() => 1);
  return {
    codes: rewriter.op('reshape', [codes], { shape: x.type.shape }, { location }),
    scale: rewriter.op('reshape', [scale], { shape: ones }, { location }),
    block,
  };
}

function beforeReshape(rewriter: FunctionRewriter, x: Value): Value {
  let source = rewriter.resolve(x);
  for (let node = rewriter.producer(source); node?.op === 'reshape'; node = rewriter.producer(source)) {
    source = rewriter.resolve(node.operands[0]!);
  }
  return source;
}

/** A gradient product's operand in bf16, converted as it was made: the forward product converts the same value. */
export function inBf16(rewriter: FunctionRewriter, x: Value, node: Node): Value {
  const narrow = inDType(rewriter, beforeReshape(rewriter, x), 'bf16', node);
  const { shape } = rewriter.resolve(x).type;
  const same = narrow.type.shape.length === shape.length && shape.every((dim, axis) => dim === narrow.type.shape[axis]);
  return same ? narrow : rewriter.op('reshape', [narrow], { shape }, { location: node.location });
}
