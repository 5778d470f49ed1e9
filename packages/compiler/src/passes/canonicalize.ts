import {
  type DType,
  FunctionRewriter,
  type GraphFunction,
  type Node,
  type OpRegistry,
  sameType,
  type Value,
} from '@quaver/ir';
import { mapFunctions } from '../graph/edit-module.ts';
import { isExactWidening } from '../lowering/precision-change.ts';
import type { Pass } from '../pass.ts';

/**
 * Rewrites to a simpler form, always with the same bits. A narrowing conversion is never removed: f32 → bf16 → f32 stays,
 * and only the exact widening in bf16 → f32 → bf16 goes. Conversions from and to FP8 are left alone.
 */
export const canonicalize: Pass = {
  name: 'canonicalize',
  description: 'Removes conversions, reshapes and arithmetic that change nothing; gathers before it widens.',
  run: (module, { registry }) => mapFunctions(module, (fn) => canonicalizeFunction(fn, registry)),
};

function canonicalizeFunction(fn: GraphFunction, registry: OpRegistry): GraphFunction {
  const rewriter = new FunctionRewriter(fn, registry);
  for (const node of fn.nodes) {
    const simpler = rules[node.op]?.(
      { ...node, operands: node.operands.map((v) => v && rewriter.resolve(v)) },
      rewriter,
    );
    if (simpler) {
      rewriter.drop(node);
      rewriter.replace(node.results[0]!, simpler);
    } else rewriter.keep(node);
  }
  return rewriter.finish();
}

/** Gives the value that a node (with operands already simplified) can be replaced by, or undefined. */
type Rule = (node: Node, rewriter: FunctionRewriter) => Value | undefined;

const rules: Readonly<Record<string, Rule>> = {
  convert: simplerConvert,
  gather: gatherBeforeWidening,
  reshape: simplerReshape,
  transpose: simplerTranspose,
  slice: identityWhenSameType,
  broadcast_in_dim: identityWhenSameType,
  multiply: commutative((node, rewriter) => withoutNeutral(node, rewriter, 1)),
  divide: (node, rewriter) => withoutNeutral(node, rewriter, 1),
  // x − (+0) is x for every x, −0 included; x + 0 is not.
  subtract: (node, rewriter) => withoutNeutral(node, rewriter, 0),
  add: commutative(() => undefined),
  maximum: commutative(sameOperands),
  minimum: commutative(sameOperands),
};

function simplerConvert(node: Node, rewriter: FunctionRewriter): Value | undefined {
  const x = node.operands[0]!;
  const to = node.attributes.to as DType;
  if (x.type.dtype === to) return x;
  const inner = rewriter.producer(x);
  const source = inner?.op === 'convert' ? inner.operands[0]! : undefined;
  if (!source || !isExactWidening(source.type.dtype, x.type.dtype)) return undefined;
  if (source.type.dtype === to) return source;
  const float = to === 'bf16' || to === 'f16';
  return float ? rewriter.op('convert', [source], node.attributes, node) : undefined;
}

/** A table that is widened to be gathered from: gather first, and only what was gathered is widened. */
function gatherBeforeWidening(node: Node, rewriter: FunctionRewriter): Value | undefined {
  const [table, indices] = node.operands as [Value, Value];
  const widening = rewriter.producer(table);
  const source = widening?.op === 'convert' ? widening.operands[0]! : undefined;
  if (source?.kind !== 'parameter' || !isExactWidening(source.type.dtype, table.type.dtype)) return undefined;
  const rows = rewriter.op('gather', [source, indices], node.attributes, node);
  return rewriter.op('convert', [rows], widening!.attributes, { location: node.location });
}

function simplerReshape(node: Node, rewriter: FunctionRewriter): Value | undefined {
  const inner = rewriter.producer(node.operands[0]!);
  if (inner?.op === 'reshape') {
    const source = inner.operands[0]!;
    if (sameType(source.type, node.results[0]!.type)) return source;
    return rewriter.op('reshape', [source], node.attributes, node);
  }
  return identityWhenSameType(node);
}

function simplerTranspose(node: Node, rewriter: FunctionRewriter): Value | undefined {
  const permutation = node.attributes.permutation as readonly number[];
  const isIdentity = (axes: readonly number[]) => axes.every((axis, i) => axis === i);
  if (isIdentity(permutation)) return node.operands[0];
  const inner = rewriter.producer(node.operands[0]!);
  if (inner?.op !== 'transpose') return undefined;
  const combined = permutation.map((axis) => (inner.attributes.permutation as readonly number[])[axis]!);
  if (isIdentity(combined)) return inner.operands[0];
  return rewriter.op('transpose', inner.operands, { permutation: combined }, node);
}

/** A slice of everything or a broadcast to the same shape. */
function identityWhenSameType(node: Node): Value | undefined {
  const x = node.operands[0]!;
  if (!sameType(x.type, node.results[0]!.type)) return undefined;
  const dims = node.attributes.dims as readonly number[] | undefined;
  return dims === undefined || dims.every((axis, i) => axis === i) ? x : undefined;
}

/** `x op c` is x when the splat c changes no bit of x. Integers have no −0, floats do: c must be +0, not −0. */
function withoutNeutral(node: Node, rewriter: FunctionRewriter, neutral: number): Value | undefined {
  const [x, c] = node.operands as [Value, Value];
  const constant = rewriter.producer(c);
  return constant?.op === 'constant' && Object.is(constant.attributes.value, neutral) ? x : undefined;
}

function sameOperands(node: Node): Value | undefined {
  return node.operands[0] === node.operands[1] ? node.operands[0] : undefined;
}

/** Puts a constant last, so that rules and cse meet one form. */
function commutative(rule: Rule): Rule {
  return (node, rewriter) => {
    const [lhs, rhs] = node.operands as [Value, Value];
    const isConstant = (value: Value) => rewriter.producer(value)?.op === 'constant';
    if (!isConstant(lhs) || isConstant(rhs)) return rule(node, rewriter);
    const swapped = { ...node, operands: [rhs, lhs] };
    return rule(swapped, rewriter) ?? rewriter.op(node.op, [rhs, lhs], node.attributes, node);
  };
}
