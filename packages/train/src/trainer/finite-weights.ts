import { viewHostArray } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { TrainingSession } from './training-session.ts';

/**
 * Whether all weights are finite, at the beginning and after a gradient was not. Reads one tensor at a time.
 * @throws QuaverError `weights-not-finite` when they were not at the beginning, `training-diverged` when steps made them so; both
 *   name the tensor and the first element, in row-major order
 */
export async function checkWeights(session: TrainingSession): Promise<void> {
  for (const { name } of session.parameters) {
    const values = viewHostArray('f32', await session.readParameter(name));
    const at = values.findIndex((value) => !Number.isFinite(value));
    if (at < 0) continue;
    const steps = session.appliedSteps;
    const problem = `the weights '${name}' are ${values[at]} at element ${at}`;
    const where = { tensor: name, element: at };
    if (steps > 0) throw diverged(`${problem} after ${steps} steps`, where);
    throw new QuaverError('weights-not-finite', `${problem} before the first step`, {
      hint: 'The model that the run starts from is broken: import it again, or start from another one.',
      where,
    });
  }
}

export function diverged(problem: string, where: QuaverError['where']): QuaverError {
  return new QuaverError('training-diverged', problem, {
    hint: 'Lower schedule.peak, lengthen schedule.warmup, or train in bf16. The checkpoints before are as they were.',
    where,
  });
}
