import type { Module, StateVariable } from '@quaver/ir';
import { isAmaxHistory, runningAmaxState } from './amax-recorder.ts';
import { roundingSeedState } from './gradient-rounding.ts';

/**
 * The states of a compiled module that its recipe brought and that a training run keeps from step to step: amax histories, the amax
 * values of the step that is going on, and the seed of stochastic rounding. They start at zero and belong into checkpoints.
 */
export function recipeStates({ states }: Pick<Module, 'states'>): StateVariable[] {
  const histories = states.filter(({ name }) => isAmaxHistory(name));
  const names = new Set([...histories, ...histories.map(runningAmaxState), roundingSeedState].map(({ name }) => name));
  return states.filter(({ name }) => names.has(name));
}
