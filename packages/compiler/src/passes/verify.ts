import { verifyModule } from '@quaver/ir';
import type { Pass } from '../pass.ts';

export const verify: Pass = {
  name: 'verify',
  description:
    'Checks the module: names, order, single producers, types as inferred, aliases. Also runs between all passes.',
  run(module, { registry }) {
    verifyModule(module, { registry });
    return module;
  },
};
