/** @file What a session will allocate, before it does. */
import {
  byteCount,
  coreOps,
  type DimBindings,
  evaluateDim,
  type GraphFunction,
  type Module,
  type OpRegistry,
  type TensorType,
} from '@quaver/ir';
import type { Executor, Footprint } from './contract.ts';
import { legalizedFunction, parametersOf, statesOf } from './session-functions.ts';

/** A function that the session will run, and the sizes of its symbols. */
export interface PlannedCall {
  readonly function: string;
  readonly symbols: DimBindings;
}

/** Bytes that a session allocates. */
export interface SessionFootprint {
  /** Intermediates, by function. Functions run one at a time and share it: the largest counts. */
  readonly workspaces: ReadonlyMap<string, number>;
  /** The forms in which each parameter is kept, by parameter and by the form's name; `bytes` is the parameter as it is. */
  readonly parameters: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** By variable: one state for all functions, at the sizes of the first that has the variable. */
  readonly states: ReadonlyMap<string, number>;
  /** Inputs and outputs, by function; each function has buffers of its own. */
  readonly callBuffers: ReadonlyMap<string, number>;
}

/**
 * Compiles functions as `Session.open` does, and adds up what running them will take. No memory of the executor is allocated.
 * @throws QuaverError `session-function-unknown`, `node-unsupported`, `dim-unbound`, `aborted`
 */
export async function sessionFootprint(
  module: Module,
  executor: Executor,
  calls: readonly PlannedCall[],
  options: { readonly registry?: OpRegistry; readonly signal?: AbortSignal } = {},
): Promise<SessionFootprint> {
  const { registry = coreOps, signal } = options;
  const workspaces = new Map<string, number>();
  const parameters = new Map<string, Map<string, number>>();
  const states = new Map<string, number>();
  const callBuffers = new Map<string, number>();
  for (const { function: name, symbols } of calls) {
    const { fn } = legalizedFunction(module, name, executor, registry);
    const { workspace, parameterForms } = await footprintOf(module, fn, executor, symbols, signal);
    workspaces.set(name, Math.max(workspace, workspaces.get(name) ?? 0));
    for (const [parameter, forms] of parameterForms) {
      parameters.set(parameter, new Map([...(parameters.get(parameter) ?? []), ...forms]));
    }
    for (const state of statesOf(fn)) {
      const { type } = module.states.find((variable) => variable.name === state)!;
      if (!states.has(state)) states.set(state, bytesOf(type, symbols));
    }
    const bound = [...fn.inputs, ...fn.outputs.map(({ value }) => value)];
    callBuffers.set(
      name,
      bound.reduce((sum, { type }) => sum + bytesOf(type, symbols), 0),
    );
  }
  return { workspaces, parameters, states, callBuffers };
}

async function footprintOf(
  module: Module,
  fn: GraphFunction,
  executor: Executor,
  symbols: DimBindings,
  signal: AbortSignal | undefined,
): Promise<Footprint> {
  const program = await executor.compile(fn, signal);
  try {
    return executor.footprint?.(program, symbols) ?? assumed(module, fn, symbols);
  } finally {
    program.dispose();
  }
}

function assumed({ parameters }: Module, fn: GraphFunction, symbols: DimBindings): Footprint {
  const used = parametersOf(fn);
  return {
    workspace: fn.plan!.slots.reduce<number>((sum, slot) => sum + evaluateDim(slot, symbols), 0),
    parameterForms: new Map(
      parameters
        .filter(({ name }) => used.has(name))
        .map(({ name, type }) => [name, new Map([['bytes', bytesOf(type, {})]])]),
    ),
  };
}

function bytesOf(type: TensorType, symbols: DimBindings): number {
  return evaluateDim(byteCount(type), symbols);
}
