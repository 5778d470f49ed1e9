import { QuaverError } from '@quaver/numerics';
import type { GraphFunction, Node } from '../module.ts';
import type { OpRegistry } from '../registry.ts';
import { formatType } from '../type.ts';
import { FunctionRewriter } from './rewrite.ts';
import type { Supports } from './support.ts';

/** Bodies may hold composites; a body that holds itself would never end. */
const MAX_NESTING = 16;

/**
 * Expands every composite that `supports` does not claim into its body, again and again until only claimed nodes are
 * left. The bits do not change: a claimed composite gives the bits of its body.
 * @throws QuaverError `node-unsupported` when a primitive is refused, naming the node, the reason and the executor's hint
 */
export function legalizeFunction(fn: GraphFunction, supports: Supports, registry: OpRegistry): GraphFunction {
  const rewriter = new FunctionRewriter(fn, registry);
  for (const node of fn.nodes) {
    const current = withOperands(node, rewriter);
    if (claims(current, supports, registry, fn.name)) rewriter.keep(node);
    else {
      const results = expand(current, rewriter, supports, registry, 1);
      rewriter.drop(node);
      for (const [i, value] of node.results.entries()) rewriter.replace(value, results[i]!);
    }
  }
  return rewriter.finish();
}

function expand(node: Node, rewriter: FunctionRewriter, supports: Supports, registry: OpRegistry, depth: number) {
  if (depth > MAX_NESTING) {
    throw new QuaverError('composite-too-deep', `the body of op ${node.op} nests more than ${MAX_NESTING} composites`, {
      hint: 'A composite may not contain itself.',
      where: { op: node.op },
    });
  }
  const body = rewriter.body(node);
  for (const inner of body.nodes) {
    const current = withOperands(inner, rewriter);
    if (claims(current, supports, registry, rewriter.source.name)) rewriter.append(current);
    else {
      const results = expand(current, rewriter, supports, registry, depth + 1);
      for (const [i, value] of inner.results.entries()) rewriter.replace(value, results[i]!);
    }
  }
  return body.results.map((value) => rewriter.resolve(value));
}

function withOperands(node: Node, rewriter: FunctionRewriter): Node {
  return { ...node, operands: node.operands.map((value) => value && rewriter.resolve(value)) };
}

/** True: the executor runs the node. False: it is a composite to expand. Throws for a primitive that nobody runs. */
function claims(node: Node, supports: Supports, registry: OpRegistry, functionName: string): boolean {
  const support = supports(node);
  if (support.ok) return true;
  if (registry.get(node.domain, node.op, node.version).isComposite) return false;
  const types = node.operands.map((value) => (value ? formatType(value.type) : '-')).join(', ');
  const at = node.location === '' ? '' : ` at ${node.location}`;
  throw new QuaverError('node-unsupported', `@${functionName}: ${node.op}(${types})${at}: ${support.reason}`, {
    hint: support.hint ?? 'Choose another executor, or a recipe that does not need this node.',
    where: { function: functionName, op: node.op, location: node.location, reason: support.code },
  });
}
