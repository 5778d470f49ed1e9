import type { GraphFunction, Node, Value } from '@quaver/ir';

/** The node that makes each result value. */
export function producersOf(fn: GraphFunction): Map<Value, Node> {
  const producers = new Map<Value, Node>();
  for (const node of fn.nodes) for (const value of node.results) producers.set(value, node);
  return producers;
}

/** The nodes that read each value, in order; a node that reads it twice is listed once. */
export function usersOf(fn: GraphFunction): Map<Value, Node[]> {
  const users = new Map<Value, Node[]>();
  for (const node of fn.nodes) {
    for (const value of new Set(node.operands)) {
      if (!value) continue;
      const list = users.get(value);
      if (list) list.push(node);
      else users.set(value, [node]);
    }
  }
  return users;
}

/** Values that the function gives back or stores. */
export function resultsOf(fn: GraphFunction): Set<Value> {
  return new Set([...fn.outputs, ...fn.updates].map(({ value }) => value));
}

/** Parameters, and the values computed from parameters (and constants) alone. */
export function parameterOnlyValues(fn: GraphFunction): Set<Value> {
  const found = new Set<Value>(fn.parameters);
  const constants = new Set<Value>();
  for (const node of fn.nodes) {
    const operands = node.operands.filter((value) => value !== undefined);
    if (operands.every((value) => constants.has(value))) for (const value of node.results) constants.add(value);
    else if (operands.every((value) => constants.has(value) || found.has(value))) {
      for (const value of node.results) found.add(value);
    }
  }
  return found;
}
