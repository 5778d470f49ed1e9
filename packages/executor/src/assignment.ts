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
  const support: unknown = executor.supports(nodeView(node));
  if (isSupport(support)) return support;
  throw new QuaverError('executor-plugin-invalid', `supports() answered ${describe(support)} for ${node.op}`, {
    hint: 'Expected { ok: true, native } or { ok: false, code, reason }, and no promise.',
    where: { op: node.op },
  });
}

function isSupport(value: unknown): value is Support {
  if (typeof value !== 'object' || value === null) return false;
  const { ok, native, code, reason } = value as Record<string, unknown>;
  return ok === true
    ? typeof native === 'boolean'
    : ok === false && typeof code === 'string' && typeof reason === 'string';
}

/** In a few words, whatever it is. */
function describe(value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value);
  if ('then' in value) return 'a promise';
  return `an object with ${Object.keys(value).join(', ') || 'no properties'}`;
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
