import {
  type Attributes,
  FunctionRewriter,
  type GraphFunction,
  type Node,
  type OpRegistry,
  type Value,
} from '@quaver/ir';
import { mapFunctions } from '../graph/edit-module.ts';
import { scaledDotProblem } from '../lowering/quantized-product.ts';
import type { Pass } from '../pass.ts';

/**
 * `dot_general(dequantize(a), dequantize(b))` in f32 becomes `scaled_dot(a, b)`: the products of codes are exact, and the
 * scales are applied once per block of the contracted axis. Not the same bits: this is where FP8 arithmetic begins.
 */
export const fp8FuseScaledDot: Pass = {
  name: 'fp8-fuse-scaled-dot',
  description: 'Makes one scaled_dot of a product of two dequantized operands.',
  run: (module, { registry }) => mapFunctions(module, (fn) => fuseFunction(fn, registry)),
};

function fuseFunction(fn: GraphFunction, registry: OpRegistry): GraphFunction {
  const rewriter = new FunctionRewriter(fn, registry);
  for (const node of fn.nodes) {
    const fused = fuse(node, rewriter, registry);
    if (fused) {
      rewriter.drop(node);
      rewriter.replace(node.results[0]!, fused);
    } else rewriter.keep(node);
  }
  return rewriter.finish();
}

function fuse(node: Node, rewriter: FunctionRewriter, registry: OpRegistry): Value | undefined {
  if (node.op !== 'dot_general' || (node.attributes.lhs_batch as readonly number[]).length > 0) return undefined;
  const [lhs, rhs] = node.operands.map((value) => rewriter.producer(value!));
  if (!isDequantized(lhs) || !isDequantized(rhs)) return undefined;
  const { lhs_contract, rhs_contract, promote } = node.attributes;
  const attributes: Attributes = {
    lhs_block: lhs.attributes.block!,
    rhs_block: rhs.attributes.block!,
    lhs_contract: lhs_contract!,
    rhs_contract: rhs_contract!,
    promote: promote!,
  };
  const operands = [lhs.operands[0], rhs.operands[0], lhs.operands[1], rhs.operands[1]];
  const types = operands.map((value) => value?.type);
  if (scaledDotProblem(registry, types, attributes) !== undefined) return undefined;
  return rewriter.op('scaled_dot', operands, attributes, node);
}

function isDequantized(node: Node | undefined): node is Node {
  return node?.op === 'dequantize' && node.attributes.to === 'f32';
}
