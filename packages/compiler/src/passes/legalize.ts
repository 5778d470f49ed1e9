import { legalizeFunction } from '@quaver/ir';
import { mapFunctions } from '../graph/edit-module.ts';
import type { Pass } from '../pass.ts';

/** Without a target the module stays portable: an executor legalizes it when it opens it. */
export const legalize: Pass = {
  name: 'legalize',
  description: 'Expands composites that the target does not run; refuses primitives that it does not run.',
  run: (module, { target, registry }) =>
    target ? mapFunctions(module, (fn) => legalizeFunction(fn, target.supports, registry)) : module,
};
