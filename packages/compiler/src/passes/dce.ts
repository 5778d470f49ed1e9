import { type GraphFunction, type Node, updatedNames, type Value } from '@quaver/ir';
import { dropUnusedTensors, mapFunctions } from '../graph/edit-module.ts';
import type { Pass } from '../pass.ts';

/** Inputs stay, used or not: they are the function's signature. */
export const dce: Pass = {
  name: 'dce',
  description: 'Drops nodes whose results nobody reads, and parameters and states that nobody mentions.',
  run: (module) => dropUnusedTensors(mapFunctions(module, dropDeadNodes)),
};

export function dropDeadNodes(fn: GraphFunction): GraphFunction {
  const live = new Set<Value>([...fn.outputs, ...fn.updates].map(({ value }) => value));
  const kept: Node[] = [];
  for (const node of fn.nodes.toReversed()) {
    if (!node.results.some((value) => live.has(value))) continue;
    for (const value of node.operands) if (value) live.add(value);
    kept.push(node);
  }
  const updated = updatedNames(fn, 'state');
  const parameters = fn.parameters.filter((value) => live.has(value));
  const states = fn.states.filter((value) => live.has(value) || updated.has(value.ref!));
  const same =
    kept.length === fn.nodes.length && parameters.length === fn.parameters.length && states.length === fn.states.length;
  return same ? fn : { ...fn, parameters, states, nodes: kept.reverse(), plan: undefined };
}
