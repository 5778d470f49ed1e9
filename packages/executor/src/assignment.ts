import type { GraphFunction, Node } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
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

/**
 * Asks an executor about a node, and looks at the shape of the answer: executors come from anyone's package.
 * @throws QuaverError `executor-plugin-invalid`
 */
export function supportOf(executor: Pick<Executor, 'supports'>, node: Node): Support {
  const support: Support | undefined = executor.supports(nodeView(node));
  if (support?.ok === true || (support?.ok === false && typeof support.code === 'string')) return support;
  throw new QuaverError('executor-plugin-invalid', `supports() answered ${JSON.stringify(support)} for ${node.op}`, {
    hint: 'Expected { ok: true, native } or { ok: false, code, reason }; it must not be a promise.',
    where: { op: node.op },
  });
}

/** Asks the executor about every node. */
export function assign(fn: GraphFunction, executor: Pick<Executor, 'supports'>): Assignment[] {
  return fn.nodes.map((node) => ({
    function: fn.name,
    op: node.op,
    location: node.location,
    support: supportOf(executor, node),
  }));
}
