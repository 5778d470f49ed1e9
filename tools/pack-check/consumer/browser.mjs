// Re-exports everything, so that the bundle contains each portable package as a whole, and runs the examples.
import * as compilerUse from './use/compiler.mjs';
import * as conformanceUse from './use/conformance.mjs';
import * as executorUse from './use/executor.mjs';
import * as formatsUse from './use/formats.mjs';
import * as irUse from './use/ir.mjs';
import * as numericsUse from './use/numerics.mjs';

export * as compiler from '@quaver/compiler';
export * as conformance from '@quaver/conformance';
export * as executor from '@quaver/executor';
export * as formats from '@quaver/formats';
export * as ir from '@quaver/ir';
export * as numerics from '@quaver/numerics';

export const results = () =>
  Promise.all(
    Object.entries({ numericsUse, irUse, formatsUse, compilerUse, executorUse, conformanceUse }).map(
      async ([name, use]) => ({
        name,
        actual: await use.default(),
        expected: use.expected,
      }),
    ),
  );
