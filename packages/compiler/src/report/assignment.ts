import type { Module, OpRegistry, Supports } from '@quaver/ir';

/** What the target does with the nodes of one op in one function. */
export interface Assignment {
  readonly function: string;
  readonly op: string;
  readonly nodes: number;
  /** `native` and `emulated` run as they are; `expanded` runs as its body; `refused` cannot run. */
  readonly answer: 'native' | 'emulated' | 'expanded' | 'refused';
  /** The target's words, for `expanded` and `refused`. */
  readonly reason: string;
}

/** One row per function, op and answer, in the order of first appearance. */
export function assignModule(module: Module, supports: Supports, registry: OpRegistry): Assignment[] {
  const rows = new Map<string, Assignment>();
  for (const fn of module.functions) {
    for (const node of fn.nodes) {
      const support = supports(node);
      const reason = support.ok ? '' : support.reason;
      const expandable = registry.get(node.domain, node.op, node.version).isComposite;
      const answer = support.ok ? (support.native ? 'native' : 'emulated') : expandable ? 'expanded' : 'refused';
      const key = [fn.name, node.op, answer, reason].join('\n');
      const nodes = (rows.get(key)?.nodes ?? 0) + 1;
      rows.set(key, { function: fn.name, op: node.op, nodes, answer, reason });
    }
  }
  return [...rows.values()];
}
