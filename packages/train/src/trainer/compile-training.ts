import { type CompileReport, compile, quantizeWeightsName, type Recipe, shiftAmaxHistories } from '@quaver/compiler';
import { findFunction, type Module, updatedNames } from '@quaver/ir';
import { type TrainingModule, type TrainingModuleOptions, trainingModule } from '../graph/training-module.ts';

export interface CompileTrainingOptions extends TrainingModuleOptions {
  /** A built-in recipe's name, or a recipe. */
  readonly recipe: string | Recipe;
  readonly signal?: AbortSignal | undefined;
}

/** A model that can train, compiled. */
export interface CompiledTraining {
  readonly training: TrainingModule;
  readonly module: Module;
  readonly report: CompileReport;
  /** The functions that a run calls. */
  readonly functions: readonly string[];
  /** Those of them that share the state of a run. */
  readonly stepFunctions: readonly string[];
  /** Parameters that a function computes from others. */
  readonly computed: readonly string[];
}

/** @throws QuaverError `training-…`, `recipe-…`, `module-already-lowered`, `aborted` */
export async function compileTraining(model: Module, options: CompileTrainingOptions): Promise<CompiledTraining> {
  const { recipe, signal } = options;
  const training = trainingModule(model, options);
  const { module: compiled, report } = await compile(training.module, { recipe, ...(signal ? { signal } : {}) });
  // Both end a step for the scales that come from earlier steps.
  const module = shiftAmaxHistories(shiftAmaxHistories(compiled, 'update'), 'discard');
  const weights = findFunction(module, quantizeWeightsName);
  const stepFunctions = ['backward', 'update', 'discard'].filter((name) => findFunction(module, name));
  return {
    training,
    module,
    report,
    functions: [...stepFunctions, 'loss', ...(weights ? [quantizeWeightsName] : [])],
    stepFunctions,
    computed: weights ? [...updatedNames(weights, 'parameter')] : [],
  };
}
