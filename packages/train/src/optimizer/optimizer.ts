import type { GraphBuilder, Value } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';

/** What one step of one parameter is computed from; all values are f32. */
export interface StepInputs {
  readonly parameter: Value;
  /** In the shape of the parameter. */
  readonly gradient: Value;
  /** Learning rate, f32[1]: what changes from step to step is a value, so that the graph stays. */
  readonly rate: Value;
  /** By name, in the shapes of {@link Optimizer.states}; zeros before the first step. */
  readonly states: Readonly<Record<string, Value>>;
  /** By name, f32[1], with the values of {@link Optimizer.scalars}. */
  readonly scalars: Readonly<Record<string, Value>>;
}

/** What a step makes of the parameter and its states. */
export interface StepResults {
  readonly parameter: Value;
  readonly states: Readonly<Record<string, Value>>;
}

/** A rule that moves a parameter against its gradient, as a graph. */
export interface Optimizer {
  readonly name: string;
  /** Shapes of the f32 tensors that are kept from step to step for a parameter of this shape. */
  states(shape: readonly number[]): Readonly<Record<string, readonly number[]>>;
  /** Numbers that depend on the step alone, which counts from 1; used by parameters of any shape. */
  scalars(step: number): Readonly<Record<string, number>>;
  /** Appends the nodes of one step. */
  step(g: GraphBuilder, inputs: StepInputs): StepResults;
}

/** @throws QuaverError `optimizer-option` unless `holds` */
export function checkOption(optimizer: string, option: string, value: number, holds: boolean, expected: string): void {
  if (holds) return;
  throw new QuaverError('optimizer-option', `${optimizer}: ${option} is ${value}, expected ${expected}`, {
    where: { optimizer, option },
  });
}

/** A share below 1, such as a decay. */
export function checkShare(optimizer: string, options: Readonly<Record<string, number>>): void {
  for (const [option, value] of Object.entries(options)) {
    checkOption(optimizer, option, value, value >= 0 && value < 1, 'at least 0 and below 1');
  }
}

/** A finite number that is not negative. */
export function checkAmount(optimizer: string, options: Readonly<Record<string, number>>): void {
  for (const [option, value] of Object.entries(options)) {
    checkOption(optimizer, option, value, value >= 0 && Number.isFinite(value), 'a finite number of at least 0');
  }
}
