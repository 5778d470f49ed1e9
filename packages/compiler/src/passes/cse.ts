import { FunctionRewriter, type GraphFunction, type Node, type OpRegistry, type Value } from '@quaver/ir';
import { attributesText } from '../graph/attribute-text.ts';
import { mapFunctions } from '../graph/edit-module.ts';
import type { Pass } from '../pass.ts';

/**
 * Every op is a function of its operands and attributes alone, so two nodes that agree in those are one. Nodes with
 * annotations are merged only with nodes that carry the same ones at the same location: a precision request, or a line
 * of the report, belongs to one layer. That a node computes a gradient is no reason to compute it twice.
 */
export const cse: Pass = {
  name: 'cse',
  description: 'Merges nodes that compute the same value; one value quantized the same way is quantized once.',
  run: (module, { registry }) => mapFunctions(module, (fn) => mergeDuplicates(fn, registry)),
};

function mergeDuplicates(fn: GraphFunction, registry: OpRegistry): GraphFunction {
  const rewriter = new FunctionRewriter(fn, registry);
  const known = new Map<string, Node>();
  const ids = new Map<Value, number>();
  const idOf = (value: Value | undefined): string => {
    if (value === undefined) return '-';
    const resolved = rewriter.resolve(value);
    const id = ids.get(resolved) ?? ids.size;
    ids.set(resolved, id);
    return String(id);
  };
  for (const node of fn.nodes) {
    const key = keyOf(node, idOf);
    const first = known.get(key);
    if (first) {
      rewriter.drop(node);
      for (const [i, value] of node.results.entries()) rewriter.replace(value, first.results[i]!);
    } else known.set(key, rewriter.keep(node));
  }
  return rewriter.finish();
}

function keyOf(node: Node, idOf: (value: Value | undefined) => string): string {
  const annotations = Object.entries(node.annotations).filter(([name]) => name !== 'gradient_of');
  const notes = annotations.length === 0 ? '' : JSON.stringify([node.location, annotations.sort()]);
  return `${node.domain}.${node.op}@${node.version}(${node.operands.map(idOf).join()}){${attributesText(node.attributes)}}${notes}`;
}
