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

/** Asks the executor about every node. */
export function assign(fn: GraphFunction, executor: Pick<Executor, 'supports'>): Assignment[] {
  return fn.nodes.map((node) => ({
    function: fn.name,
    op: node.op,
    location: node.location,
    support: executor.supports(nodeView(node)),
  }));
}

/** @throws QuaverError `executor-unsupported`, naming the first refused nodes and the executor's reasons */
export function requireSupported(assignments: readonly Assignment[], executor: string): void {
  const refused = assignments.filter((assignment) => !assignment.support.ok);
  const first = refused[0];
  if (!first || first.support.ok) return;
  const names = [...new Set(refused.map((a) => (a.support.ok ? '' : `${a.op}: ${a.support.reason}`)))].slice(0, 5);
  throw new QuaverError(
    'executor-unsupported',
    `executor '${executor}' refuses ${refused.length} nodes of function '${first.function}': ${names.join('; ')}`,
    {
      hint: first.support.hint ?? 'Open the session on another executor, or compile with another recipe.',
      where: { function: first.function, op: first.op, location: first.location },
    },
  );
}
