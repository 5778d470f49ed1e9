import {
  type CompileReport,
  compile,
  type QuantizationMeasure,
  quantizeWeightsName,
  type Recipe,
  shiftAmaxHistories,
} from '@quaver/compiler';
import { findFunction, type Module, updatedNames } from '@quaver/ir';
import { type TrainingModule, type TrainingModuleOptions, trainingModule } from '../graph/training-module.ts';
import { withMeasures } from './quantization-records.ts';

export interface CompileTrainingOptions extends TrainingModuleOptions {
  /** A built-in recipe's name, or a recipe. */
  readonly recipe: string | Recipe;
  /** Whether to compile the functions that measure what FP8 does to each tensor; default false. */
  readonly measureQuantization?: boolean | undefined;
  /** Functions of the model that are called between the steps, on the weights as they are then. */
  readonly generation?: GenerationFunctions | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface GenerationFunctions {
  readonly functions: readonly string[];
  /** What becomes of the compiled module before it is loaded; for another form of the KV cache. */
  readonly transform?: (module: Module) => Module;
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
  /** Those of the functions that measure quantization. */
  readonly measures: readonly QuantizationMeasure[];
}

/** @throws QuaverError `training-…`, `recipe-…`, `module-already-lowered`, `aborted` */
export async function compileTraining(model: Module, options: CompileTrainingOptions): Promise<CompiledTraining> {
  const { recipe, generation, signal } = options;
  const training = trainingModule(model, options);
  const { module: compiled, report } = await compile(training.module, { recipe, ...(signal ? { signal } : {}) });
  // Both end a step for the scales that come from earlier steps.
  const shifted = shiftAmaxHistories(shiftAmaxHistories(compiled, 'update'), 'discard');
  const transformed = generation?.transform?.(shifted) ?? shifted;
  const { module, measures } = options.measureQuantization
    ? withMeasures(transformed)
    : { module: transformed, measures: [] };
  const weights = findFunction(module, quantizeWeightsName);
  const stepFunctions = ['backward', 'update', 'discard'].filter((name) => findFunction(module, name));
  return {
    training,
    module,
    report,
    functions: [
      ...[...stepFunctions, 'loss'],
      ...(weights ? [quantizeWeightsName] : []),
      ...measures.map(({ functionName }) => functionName),
      ...(generation?.functions ?? []),
    ],
    stepFunctions,
    computed: weights ? [...updatedNames(weights, 'parameter')] : [],
    measures,
  };
}
