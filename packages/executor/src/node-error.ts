import type { Node } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/** What a node threw, with the node's name and place in the model added; anything but a QuaverError as it is. */
export function nodeError(node: Node, error: unknown): unknown {
  if (!(error instanceof QuaverError)) return error;
  const name = node.results[0]?.name ?? '';
  const at = node.location === '' ? '' : ` at ${node.location}`;
  return new QuaverError(error.code, `${error.message} (in %${name} = ${node.op}${at})`, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    where: { ...error.where, node: name, op: node.op, location: node.location },
    cause: error,
  });
}
