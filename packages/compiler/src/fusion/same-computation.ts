import { GraphBuilder, type Node, type OpRegistry, type Value } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { attributesText } from '../graph/attribute-text.ts';
import type { Candidate } from './candidates.ts';

/** The same bits in either order of operands. */
const commutativeOps: ReadonlySet<string> = new Set(['add', 'multiply', 'maximum', 'minimum']);

/**
 * Whether a candidate's body is, node by node, what the graph computes for the values it would replace. A composite on
 * one side is compared with the nodes of its body on the other.
 *
 * @param node the last node of the pattern, which `producer` does not know yet
 */
export function sameComputation(
  candidate: Candidate,
  node: Node,
  producer: (value: Value) => Node | undefined,
  registry: OpRegistry,
): boolean {
  const made = new Map<Value, Node>();
  for (const value of node.results) made.set(value, node);
  const find = (value: Value) => made.get(value) ?? producer(value);

  const expand = (op: Node): readonly Value[] => {
    const g = new GraphBuilder('body');
    const results = registry.get(op.domain, op.op, op.version).body(g, op.operands, op.attributes);
    for (const inner of g.nodes) for (const value of inner.results) made.set(value, inner);
    return results;
  };
  const isComposite = (op: Node) => registry.get(op.domain, op.op, op.version).isComposite;

  const same = (expected: Value | undefined, actual: Value | undefined): boolean => {
    if (expected === actual) return true;
    if (!expected || !actual) return false;
    const [wanted, found] = [find(expected), find(actual)];
    if (!wanted || !found) return false;
    if (sameNode(wanted, found)) {
      const index = wanted.results.indexOf(expected);
      if (index === found.results.indexOf(actual) && sameOperands(wanted, found)) return true;
    }
    if (isComposite(wanted)) return same(expand(wanted)[wanted.results.indexOf(expected)], actual);
    if (isComposite(found)) return same(expected, expand(found)[found.results.indexOf(actual)]);
    return false;
  };
  const sameOperands = (wanted: Node, found: Node): boolean => {
    if (wanted.operands.length !== found.operands.length) return false;
    if (wanted.operands.every((value, i) => same(value, found.operands[i]))) return true;
    if (!commutativeOps.has(wanted.op)) return false;
    const [lhs, rhs] = wanted.operands;
    return same(lhs, found.operands[1]) && same(rhs, found.operands[0]);
  };

  const body = bodyOf(candidate, registry, made);
  return body !== undefined && candidate.replaces.every((value, i) => value === undefined || same(body[i], value));
}

function sameNode(a: Node, b: Node): boolean {
  return (
    a.domain === b.domain &&
    a.op === b.op &&
    a.version === b.version &&
    attributesText(a.attributes) === attributesText(b.attributes)
  );
}

/** The body's results; undefined when the operands do not fit the composite. */
function bodyOf(candidate: Candidate, registry: OpRegistry, made: Map<Value, Node>): readonly Value[] | undefined {
  const op = registry.latest('core', candidate.op);
  const g = new GraphBuilder('body');
  try {
    const { attributes } = op.infer(
      candidate.operands.map((value) => value?.type),
      candidate.attributes,
    );
    const results = op.body(g, candidate.operands, attributes);
    for (const inner of g.nodes) for (const value of inner.results) made.set(value, inner);
    return results;
  } catch (error) {
    if (error instanceof QuaverError && error.code === 'op-type') return undefined;
    throw error;
  }
}
