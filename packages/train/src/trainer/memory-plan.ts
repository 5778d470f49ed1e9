/** @file What a training run will hold in the memory of its executor, told before any of it is allocated. */
import { type Executor, type SessionFootprint, sessionFootprint } from '@quaver/executor';
import type { Module } from '@quaver/ir';
import { type CompiledTraining, type CompileTrainingOptions, compileTraining } from './compile-training.ts';

export interface MemoryPlanOptions extends CompileTrainingOptions {
  /** Rows of a micro-batch, and the tokens of a row. */
  readonly rows: number;
  readonly tokens: number;
}

export interface MemoryItem {
  readonly what: string;
  readonly bytes: number;
}

export interface MemoryPlan {
  readonly items: readonly MemoryItem[];
  /** The sum of the items. */
  readonly total: number;
  /** Intermediates and scratch of each function, in bytes: `backward` holds the activations. The largest is among the items. */
  readonly workspaces: Readonly<Record<string, number>>;
}

/**
 * Compiles a model for training as {@link TrainingSession.open} does, and adds up what the run will take of the executor. No tensor
 * is read and nothing allocated.
 * @throws what `compileTraining` and `sessionFootprint` throw
 */
export async function planTrainingMemory(
  model: Module,
  executor: Executor,
  options: MemoryPlanOptions,
): Promise<MemoryPlan> {
  const { rows, tokens, signal } = options;
  const compiled = await compileTraining(model, options);
  const calls = compiled.functions.map((name) => ({ function: name, symbols: { B: rows, T: tokens } }));
  const footprint = await sessionFootprint(compiled.module, executor, calls, signal ? { signal } : {});
  const items = [
    ...parameterItems(compiled, footprint),
    ...stateItems(compiled, footprint),
    { what: 'activations and workspace', bytes: Math.max(...footprint.workspaces.values()) },
    { what: 'inputs and outputs', bytes: sum(footprint.callBuffers.values()) },
  ].filter(({ bytes }) => bytes > 0);
  return {
    items,
    total: sum(items.map(({ bytes }) => bytes)),
    workspaces: Object.fromEntries(footprint.workspaces),
  };
}

function parameterItems({ module, training, computed }: CompiledTraining, footprint: SessionFootprint): MemoryItem[] {
  const trainable = new Set(training.model.parameters.flatMap(({ name, trainable }) => (trainable ? [name] : [])));
  const isComputed = new Set(computed);
  const [masters, packedMasters, derived, others] = [[], [], [], []] as [number[], number[], number[], number[]];
  for (const { name } of module.parameters) {
    for (const [form, bytes] of footprint.parameters.get(name) ?? []) {
      if (isComputed.has(name)) derived.push(bytes);
      else if (!trainable.has(name)) others.push(bytes);
      else if (form === 'bytes') masters.push(bytes);
      else packedMasters.push(bytes);
    }
  }
  return [
    { what: 'master weights', bytes: sum(masters) },
    { what: 'master weights as products read them', bytes: sum(packedMasters) },
    { what: 'quantized weights, with the forms that products read', bytes: sum(derived) },
    { what: 'tables', bytes: sum(others) },
  ];
}

function stateItems({ training }: CompiledTraining, { states }: SessionFootprint): MemoryItem[] {
  const gradients = new Set(training.trained.map((name) => `gradient.${name}`));
  const moments = new Set(training.optimizerStates.map(({ name }) => name));
  const of = (wanted: (name: string) => boolean) =>
    sum([...states].filter(([name]) => wanted(name)).map(([, bytes]) => bytes));
  return [
    { what: 'gradient sums', bytes: of((name) => gradients.has(name)) },
    { what: 'optimizer states', bytes: of((name) => moments.has(name)) },
    { what: 'histories of scales', bytes: of((name) => !gradients.has(name) && !moments.has(name)) },
  ];
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
