import type { Granularity, Phase, Recipe } from './recipe.ts';

/** Whether a row's bits are independent of the other rows of the batch, and why. */
export interface RowInvariance {
  readonly rowInvariant: boolean;
  readonly why: string;
}

/**
 * Row invariance of a recipe: every input scale must come from its own row, or be set before the step.
 * The weights' scales do not depend on the batch.
 */
export function rowInvariance(recipe: Recipe, usedPhases: readonly Phase[]): RowInvariance {
  for (const phase of usedPhases) {
    const { linear } = recipe[phase];
    if (typeof linear === 'string') continue;
    const { granularity } = linear.input;
    if (spansRows(granularity)) {
      const what = typeof granularity === 'string' ? 'per tensor' : `per ${granularity.block[0] || 'whole'} rows`;
      return {
        rowInvariant: false,
        why: `in ${phase}, inputs are scaled ${what} with the current amax, so the bits of a row depend on its neighbours`,
      };
    }
  }
  const quantized = usedPhases.some((phase) => typeof recipe[phase].linear !== 'string');
  return {
    rowInvariant: true,
    why: quantized
      ? 'every input scale comes from its own row or is set before the step'
      : 'no scale is computed from activations',
  };
}

function spansRows(granularity: Granularity): boolean {
  if (typeof granularity === 'string') return granularity === 'tensor';
  return granularity.block[0] !== 1;
}
