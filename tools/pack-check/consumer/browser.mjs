// Re-exports everything, so that the bundle contains each portable package as a whole, and runs the examples.
import numericsUse, { expected as numericsExpected } from './use/numerics.mjs';

export * as compiler from '@quaver/compiler';
export * as executor from '@quaver/executor';
export * as ir from '@quaver/ir';
export * as numerics from '@quaver/numerics';

export const results = async () => [{ name: 'numerics', actual: await numericsUse(), expected: numericsExpected }];
