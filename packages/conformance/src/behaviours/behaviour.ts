import type { CaseContext, ConformanceCase, Outcome } from '../runner/case.ts';
import { outcomeOfError } from '../runner/outcome.ts';

/** A case about how an executor behaves; `run` throws when the executor does not, and may say that nothing is promised. */
export function behaviour(
  name: string,
  run: (context: CaseContext) => Promise<Outcome | undefined>,
  op = '',
): ConformanceCase {
  return {
    name: `behaviour/${name}`,
    op,
    dtypes: [],
    resultDTypes: [],
    run: async (context) => {
      try {
        return (await run(context)) ?? { status: 'passed', ulp: 0 };
      } catch (error) {
        context.signal.throwIfAborted();
        return outcomeOfError(error);
      }
    },
  };
}

/** An executor need not promise everything; what it does not promise is not counted as passed. */
export function notPromised(capability: 'rowInvariant' | 'deterministic'): Outcome {
  return { status: 'unsupported', reason: `[not-promised] capabilities.${capability} is false` };
}
