/** @file Functions as a session has them compiled. */
import {
  findFunction,
  type GraphFunction,
  legalizeFunction,
  type Module,
  type OpRegistry,
  planMemory,
  type Update,
  updatedNames,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { supportOf } from './assignment.ts';
import type { Executor } from './contract.ts';

/**
 * A function without composites that the executor does not claim, before and after its memory was planned.
 * @throws QuaverError `session-function-unknown`
 */
export function legalizedFunction(
  module: Module,
  name: string,
  executor: Executor,
  registry: OpRegistry,
): { readonly legal: GraphFunction; readonly fn: GraphFunction } {
  const source = findFunction(module, name);
  if (!source) {
    throw new QuaverError('session-function-unknown', `module '${module.name}' has no function '${name}'`, {
      hint: `It has: ${module.functions.map((fn) => fn.name).join(', ')}.`,
      where: { function: name },
    });
  }
  const legal = legalizeFunction(source, (node) => supportOf(executor, node), registry);
  return { legal, fn: planMemory(legal) };
}

/** The state variables that a function reads or sets; it may set one without reading it. */
export function statesOf(fn: GraphFunction): ReadonlySet<string> {
  return namesOf(fn, fn.states, 'state');
}

/** The parameters that a function reads or sets. */
export function parametersOf(fn: GraphFunction): ReadonlySet<string> {
  return namesOf(fn, fn.parameters, 'parameter');
}

function namesOf(fn: GraphFunction, read: readonly Value[], target: Update['target']): ReadonlySet<string> {
  return new Set([...read.map(({ ref }) => ref!), ...updatedNames(fn, target)]);
}
