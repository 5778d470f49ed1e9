/** @file A checkpoint of a run as a model: the graph that the run started from, with the weights of one of its steps. */
import { concreteElementCount, type Module, type Parameter, type TensorData } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { readRlConfig } from '@quaver/rl/node';
import { type ModelConfig, withMasters } from '@quaver/train';
import {
  bestCheckpoint,
  latestCheckpoint,
  listCheckpoints,
  openTrainingCheckpoint,
  readRunConfig,
  type TrainingCheckpoint,
} from '@quaver/train/node';
import { openTrainingModel, type TrainingModel } from './training-model.ts';

/** `best`: of the lowest validation loss; `latest`: of the most steps; or the one of a step. */
export type WhichCheckpoint = 'best' | 'latest' | number;

export interface CheckpointModelOptions {
  /** The model that the run in a folder started from; default what its configuration says. */
  readonly readModel?: (runFolder: string) => Promise<ModelConfig>;
  readonly signal?: AbortSignal;
}

export interface CheckpointModel extends TrainingModel {
  readonly step: number;
}

/**
 * Opens a checkpoint as an imported model with f32 masters, as a run leaves one at its end. Every byte of the checkpoint is compared
 * with its hash now; tensors are read when they are asked for, until the model is closed.
 * @throws QuaverError `run-not-found`, `run-not-a-run`, `checkpoint-not-found`, `checkpoint-corrupt`, `checkpoint-incomplete`,
 *   `run-model-missing`, `checkpoint-of-another-model`, and what opening the model throws
 */
export async function openCheckpointModel(
  runFolder: string,
  which: WhichCheckpoint,
  { readModel = modelOfRun, signal }: CheckpointModelOptions = {},
): Promise<CheckpointModel> {
  const model = await readModel(runFolder);
  const step = await stepOf(runFolder, which);
  const source = await openSource(runFolder, model, signal);
  try {
    const checkpoint = await openTrainingCheckpoint(runFolder, step, signal ? { signal } : {});
    try {
      const module = withWeights(source.module, checkpoint);
      const close = async () => {
        await checkpoint.close();
        await source[Symbol.asyncDispose]();
      };
      return { step, module, [Symbol.asyncDispose]: close };
    } catch (error) {
      await checkpoint.close();
      throw error;
    }
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

/** What the configuration of a run says, be it of training or of reinforcement learning. */
async function modelOfRun(runFolder: string): Promise<ModelConfig> {
  try {
    return (await readRunConfig(runFolder)).model;
  } catch (error) {
    const other = await readRlConfig(runFolder).catch(() => undefined);
    if (other) return other.model;
    throw error;
  }
}

async function stepOf(runFolder: string, which: WhichCheckpoint): Promise<number> {
  if (typeof which === 'number') return which;
  const found = await (which === 'best' ? bestCheckpoint(runFolder) : latestCheckpoint(runFolder));
  if (found) return found.step;
  const steps = (await listCheckpoints(runFolder)).map(({ step }) => step).join(', ');
  const problem = steps === '' ? 'the run has no checkpoint yet' : 'no checkpoint has a validation loss';
  throw new QuaverError('checkpoint-not-found', `${runFolder}: ${problem}`, {
    hint: steps === '' ? 'Let the run go on until it has saved one.' : `There are checkpoints of the steps ${steps}.`,
    where: { file: runFolder },
  });
}

async function openSource(runFolder: string, model: ModelConfig, signal?: AbortSignal): Promise<TrainingModel> {
  try {
    return await openTrainingModel(model, signal);
  } catch (cause) {
    if (!(cause instanceof QuaverError) || cause.code !== 'file-not-found') throw cause;
    throw new QuaverError('run-model-missing', `${runFolder}: the model of the run is gone: ${cause.message}`, {
      hint: 'A checkpoint holds weights alone: put the files back where the run found them, or name their place in config.json.',
      where: { ...cause.where },
      cause,
    });
  }
}

/** The module with f32 masters, all of them those of the checkpoint. */
function withWeights(source: Module, checkpoint: TrainingCheckpoint): Module {
  const module = withMasters(source);
  const parameters = module.parameters.map((parameter) =>
    parameter.trainable ? { ...parameter, data: weightsOf(parameter, checkpoint) } : parameter,
  );
  return { ...module, parameters };
}

function weightsOf({ name, type }: Parameter, { folder, parameters }: TrainingCheckpoint): TensorData {
  const tensor = parameters.get(name);
  if (tensor?.dtype === type.dtype && tensor.shape.join() === type.shape.join()) {
    return {
      byteLength: 4 * concreteElementCount({ dtype: 'f32', shape: type.shape }),
      read: (signal) => tensor.read(signal),
    };
  }
  const found = tensor ? `is ${tensor.dtype}[${tensor.shape}]` : 'is missing';
  throw new QuaverError(
    'checkpoint-of-another-model',
    `${folder}: '${name}' ${found}, expected ${type.dtype}[${type.shape}]`,
    {
      hint: 'The files of the model were changed after the run: put them back as they were.',
      where: { file: folder, tensor: name },
    },
  );
}
