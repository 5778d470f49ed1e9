import type { ConformanceCase } from '../runner/case.ts';
import { abortCases } from './abort.ts';
import { aliasingCases } from './aliasing.ts';
import { bufferCases } from './buffers.ts';
import { determinismCase } from './determinism.ts';
import { lifetimeCases } from './lifetime.ts';
import { orderingCase } from './ordering.ts';
import { rowInvarianceCases } from './row-invariance.ts';
import { sessionCases } from './sessions.ts';
import { stateCases } from './state.ts';
import { weightCases } from './weights.ts';

/** Everything that is about how an executor behaves, and not about what an op computes. */
export const behaviourCases: readonly ConformanceCase[] = [
  ...aliasingCases,
  ...stateCases,
  ...weightCases,
  orderingCase,
  determinismCase,
  ...rowInvarianceCases,
  ...sessionCases,
  ...abortCases,
  ...bufferCases,
  ...lifetimeCases,
];
