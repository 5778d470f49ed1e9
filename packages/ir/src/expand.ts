import { QuaverError } from '@quaver/numerics';
import { GraphBuilder } from './builder.ts';
import type { GraphFunction, Node, Value } from './module.ts';
import type { OpRegistry } from './registry.ts';
import { formatType, sameType } from './type.ts';

/**
 * The body of a composite node as a function of its own: inputs are the node's operands in order, without absent ones,
 * named as the op names them; outputs are its results in order. Types, symbols included, are those of the node.
 * @throws QuaverError `op-unknown`, `op-has-no-meaning` for a primitive, `op-body-type` when a body breaks its op's promise
 */
export function expandComposite(node: Node, registry: OpRegistry): GraphFunction {
  const op = registry.get(node.domain, node.op, node.version);
  const names = Object.keys(op.operands);
  const g = new GraphBuilder(node.op);
  const inputs = names.map((name, i): Value | undefined => {
    const type = node.operands[i]?.type;
    return type && g.input(name, type.dtype, type.shape);
  });
  const build = () => op.body(g, inputs, node.attributes);
  const results = node.location === '' ? build() : g.scope(node.location, build);
  node.results.forEach(({ type }, i) => {
    const found = results[i]?.type;
    if (!found || !sameType(found, type)) {
      throw new QuaverError(
        'op-body-type',
        `the body of ${node.op} gives ${found ? formatType(found) : 'nothing'} as ${op.results[i]}, its type rule says ${formatType(type)}`,
        { hint: 'This is a defect of the op definition.', where: { op: node.op, node: node.results[0]?.name ?? '' } },
      );
    }
    g.output(op.results[i]!, results[i]!);
  });
  return g.finish();
}
