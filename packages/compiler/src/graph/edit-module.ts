import { type GraphFunction, type Module, updatedNames } from '@quaver/ir';

/** The module with every function rewritten; the module itself when no function changed. */
export function mapFunctions(module: Module, rewrite: (fn: GraphFunction) => GraphFunction): Module {
  const functions = module.functions.map(rewrite);
  if (functions.every((fn, i) => fn === module.functions[i])) return module;
  return { ...module, functions };
}

/** The module without the parameters and states that no function mentions; the module itself when all are used. */
export function dropUnusedTensors(module: Module): Module {
  const parameters = new Set(
    module.functions.flatMap((fn) => [...fn.parameters.map((value) => value.ref), ...updatedNames(fn, 'parameter')]),
  );
  const states = new Set(
    module.functions.flatMap((fn) => [...fn.states.map((value) => value.ref), ...updatedNames(fn, 'state')]),
  );
  const keptParameters = module.parameters.filter(({ name }) => parameters.has(name));
  const keptStates = module.states.filter(({ name }) => states.has(name));
  if (keptParameters.length === module.parameters.length && keptStates.length === module.states.length) return module;
  return { ...module, parameters: keptParameters, states: keptStates };
}

export function countNodes(module: Module): number {
  return module.functions.reduce((total, fn) => total + fn.nodes.length, 0);
}
