import type { GraphFunction, Node } from '@quaver/ir';
import type { Executor, NodeView, Support } from './contract.ts';

/** Where one node of a legalized function runs. */
export interface Assignment {
  readonly function: string;
  readonly op: string;
  readonly location: string;
  readonly support: Support;
}

export function nodeView(node: Node): NodeView {
  return {
    domain: node.domain,
    op: node.op,
    version: node.version,
    operands: node.operands.map((value) => value?.type),
    results: node.results.map((value) => value.type),
    attributes: node.attributes,
  };
}

/** Asks the executor about every node. */
export function assign(fn: GraphFunction, executor: Pick<Executor, 'supports'>): Assignment[] {
  return fn.nodes.map((node) => ({
    function: fn.name,
    op: node.op,
    location: node.location,
    support: executor.supports(nodeView(node)),
  }));
}
