import type { Pass } from '../pass.ts';
import { assignModule } from '../report/assignment.ts';

/** One target today, so nothing is split: the assignment is what the report shows and `legalize` acts on. */
export const partition: Pass = {
  name: 'partition',
  description: 'Asks the target about every node and records what it runs, what must be expanded and what it refuses.',
  run(module, { target, registry, assignments }) {
    if (target) assignments.splice(0, assignments.length, ...assignModule(module, target.supports, registry));
    return module;
  },
};
