/** @file A model with the functions of a training step; docs/adr/0012 says why there are two. */
import { differentiate, type RematPolicy } from '@quaver/compiler';
import {
  GraphBuilder,
  type GraphFunction,
  type Module,
  type Parameter,
  type StateVariable,
  type Value,
} from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { clipByGlobalNorm, globalNorm, keepUnlessFinite } from '../optimizer/clip.ts';
import type { Optimizer } from '../optimizer/optimizer.ts';
import { lossFunction } from './loss.ts';
import { withMasters } from './masters.ts';
import type { Objective } from './objective.ts';

export interface TrainingModuleOptions {
  /** The optimizer of a parameter; undefined leaves it as it is. Optimizers that are the same object form a group. */
  readonly optimizer: (parameter: Parameter) => Optimizer | undefined;
  /** Gradients are scaled down to this global norm; undefined leaves them. */
  readonly maxGradientNorm?: number | undefined;
  readonly remat?: RematPolicy | undefined;
  /** What is made smaller; default the cross-entropy of the targets. */
  readonly objective?: Objective | undefined;
}

export interface TrainingModule {
  /** f32 masters; the functions `loss`, `backward`, `update` and `discard` besides those of the model. Compile it with a recipe to run it. */
  readonly module: Module;
  /** The model with f32 masters and its own functions alone. */
  readonly model: Module;
  /** Names of the parameters that train, in the order of the module. */
  readonly trained: readonly string[];
  /** States that a run keeps from step to step, which checkpoints hold: optimizer moments, by name. */
  readonly optimizerStates: readonly StateVariable[];
  /** Inputs of `loss` and `backward` that the objective has of its own. */
  readonly objectiveInputs: readonly string[];
  /** Inputs of `update` besides `rate`, f32[1] each, for the step that counts from 1. */
  scalars(step: number): Readonly<Record<string, number>>;
}

/**
 * - `loss(tokens, targets, weights, position, first_key) → (logprobs[B,T], loss[])`, see {@link lossFunction}.
 * - `backward`, with the same inputs and outputs, adds the gradients of the loss to the states `gradient.<parameter>`; call
 *   it once for each micro-batch.
 * - `update(rate[1], scalars…) → (grad_norm[])` moves the parameters, unless the norm is not finite, and clears the sums.
 * - `discard()` clears the sums and moves nothing.
 * @throws QuaverError `module-not-a-language-model`, `training-nothing-to-train`, `optimizer-option`, `autodiff-no-rule`
 */
export function trainingModule(source: Module, options: TrainingModuleOptions): TrainingModule {
  const model = withMasters(source);
  const groups: Optimizer[] = [];
  const trained: TrainedParameter[] = [];
  for (const parameter of model.parameters) {
    const optimizer = parameter.trainable ? options.optimizer(parameter) : undefined;
    if (!optimizer) continue;
    if (!groups.includes(optimizer)) groups.push(optimizer);
    trained.push(trainedParameter(parameter, optimizer, groups.indexOf(optimizer)));
  }
  if (trained.length === 0) throw nothingToTrain(source);
  const names = trained.map(({ parameter }) => parameter.name);
  const loss = lossFunction(model, options.objective);
  const backward = differentiate(
    { ...loss, name: 'backward' },
    {
      loss: 'loss',
      wrt: names,
      into: Object.fromEntries(trained.map(({ parameter, gradient }) => [parameter.name, gradient])),
      remat: options.remat ?? 'none',
    },
  );
  const optimizerStates = trained.flatMap(({ states }) => Object.values(states));
  const module: Module = {
    ...model,
    states: [...model.states, ...trained.map(({ gradient }) => gradient), ...optimizerStates],
    functions: [
      ...model.functions,
      loss,
      backward,
      updateFunction(trained, groups, options.maxGradientNorm),
      discardFunction(trained),
    ],
    metadata: { ...model.metadata, ...trainPhases },
  };
  return {
    module,
    model,
    trained: names,
    optimizerStates,
    objectiveInputs: options.objective?.inputs ?? [],
    scalars: (step) => Object.fromEntries(groups.flatMap((group, i) => scalarsOf(group, i, step))),
  };
}

const trainPhases = Object.fromEntries(
  ['loss', 'backward', 'update', 'discard'].map((name) => [`phase.${name}`, 'train']),
);

interface TrainedParameter {
  readonly parameter: Parameter;
  readonly optimizer: Optimizer;
  /** Index of the optimizer's group. */
  readonly group: number;
  /** The sum of the gradients of the micro-batches so far. */
  readonly gradient: StateVariable;
  /** The optimizer's, by its own names. */
  readonly states: Readonly<Record<string, StateVariable>>;
}

function trainedParameter(parameter: Parameter, optimizer: Optimizer, group: number): TrainedParameter {
  const { name, type } = parameter;
  const stateOf = (prefix: string, shape: readonly number[]): StateVariable => ({
    name: `${prefix}.${name}`,
    type: { dtype: 'f32', shape },
  });
  const states = Object.entries(optimizer.states(type.shape)).map(([own, shape]) => [
    own,
    stateOf(`${optimizer.name}.${own}`, shape),
  ]);
  return { parameter, optimizer, group, gradient: stateOf('gradient', type.shape), states: Object.fromEntries(states) };
}

function scalarInput(name: string, group: number): string {
  return group === 0 ? name : `${name}.${group}`;
}

function scalarsOf(optimizer: Optimizer, group: number, step: number): [string, number][] {
  return Object.entries(optimizer.scalars(step)).map(([name, value]) => [scalarInput(name, group), value]);
}

function updateFunction(
  trained: readonly TrainedParameter[],
  groups: readonly Optimizer[],
  maxNorm: number | undefined,
): GraphFunction {
  const g = new GraphBuilder('update');
  const rate = g.input('rate', 'f32', [1]);
  const scalars = groups.map((optimizer, i) =>
    Object.fromEntries(
      Object.keys(optimizer.scalars(1)).map((name) => [name, g.input(scalarInput(name, i), 'f32', [1])]),
    ),
  );
  const norm = g.scope('update', () =>
    globalNorm(
      g,
      trained.map(({ gradient }) => g.state(gradient)),
    ),
  );
  g.output('grad_norm', norm);
  for (const item of trained) {
    g.scope(`update.${item.parameter.name}`, () =>
      stepOf(g, item, norm, { rate, scalars: scalars[item.group]!, maxNorm }),
    );
  }
  return g.finish();
}

interface StepValues {
  readonly rate: Value;
  readonly scalars: Readonly<Record<string, Value>>;
  readonly maxNorm: number | undefined;
}

function stepOf(g: GraphBuilder, item: TrainedParameter, norm: Value, { rate, scalars, maxNorm }: StepValues): void {
  const sum = g.state(item.gradient);
  const gradient = maxNorm === undefined ? sum : clipByGlobalNorm(g, [sum], norm, maxNorm)[0]!;
  const parameter = g.parameter(item.parameter);
  const states = Object.fromEntries(Object.entries(item.states).map(([name, state]) => [name, g.state(state)]));
  const moved = item.optimizer.step(g, { parameter, gradient, rate, states, scalars });
  g.updateParameter(item.parameter, keepUnlessFinite(g, norm, moved.parameter, parameter));
  for (const [name, state] of Object.entries(item.states)) {
    g.update(state, keepUnlessFinite(g, norm, moved.states[name]!, states[name]!));
  }
  clear(g, item);
}

function clear(g: GraphBuilder, { gradient, parameter }: TrainedParameter): void {
  g.update(gradient, g.constant(0, 'f32', parameter.type.shape));
}

function discardFunction(trained: readonly TrainedParameter[]): GraphFunction {
  const g = new GraphBuilder('discard');
  for (const item of trained) clear(g, item);
  return g.finish();
}

function nothingToTrain(module: Module): QuaverError {
  return new QuaverError('training-nothing-to-train', `no parameter of module '${module.name}' would be trained`, {
    hint: 'Check the list of frozen parameters; a compiled module has none that can train: start from the imported one.',
    where: { module: module.name },
  });
}
