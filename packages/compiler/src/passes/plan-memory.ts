import { planMemory as planFunction } from '@quaver/ir';
import { mapFunctions } from '../graph/edit-module.ts';
import type { Pass } from '../pass.ts';

export const planMemory: Pass = {
  name: 'plan-memory',
  description: 'Gives intermediate values slots, so that values that never live at the same time share memory.',
  run: (module) => mapFunctions(module, (fn) => (fn.plan ? fn : planFunction(fn))),
};
