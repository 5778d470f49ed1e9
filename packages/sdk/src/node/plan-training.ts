/** @file The memory that a training run will take, told before it begins. */
import { type RematPolicy, rematPolicies } from '@quaver/compiler';
import type { Executor } from '@quaver/executor';
import type { Module } from '@quaver/ir';
import { type MemoryItem, planTrainingMemory, type TrainConfig, trainingOptions } from '@quaver/train';
import { checkDataFiles } from '@quaver/train/node';
import { openExecutor } from './load-executor.ts';
import { openTrainingModel } from './training-model.ts';

export interface PlanTrainingOptions {
  /** As for `trainModel`. */
  readonly config: TrainConfig;
  /** An executor by id (default `cpu`), or an open one, which then stays the caller's. */
  readonly executor?: string | Executor;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/** Predicted peaks of resident memory, in bytes. */
export interface TrainingPlan {
  readonly items: readonly MemoryItem[];
  /** The sum of the items. */
  readonly total: number;
  /** The workspace of the backward function, which holds the activations, with each policy of rematerialization. */
  readonly activations: Readonly<Record<RematPolicy, number>>;
}

/** The thread that tokenizes, with its heap and the tokenizer: about as much as was measured for vocabularies of 384 and 49,152. */
const tokenizerThreadBytes = 48 * 2 ** 20;
/** What the heap grows by while functions are loaded and steps recorded. */
const heapGrowthBytes = 48 * 2 ** 20;

/**
 * Compiles a model as its training would, and predicts the memory of the process. Neither weights nor data are read, the executor
 * allocates nothing, and no file is written.
 * @throws QuaverError `training-…`, `file-…`, `data-empty`, `checkpoint-…`, `recipe-…`, `executor-…`, `aborted`
 */
export async function planTraining(options: PlanTrainingOptions): Promise<TrainingPlan> {
  const { config, executor: wanted = 'cpu', threads, signal } = options;
  await checkDataFiles(config.data);
  await using model = await openTrainingModel(config.model, signal);
  const executor =
    typeof wanted === 'string'
      ? await openExecutor(wanted, { ...(threads === undefined ? {} : { threads }), ...(signal ? { signal } : {}) })
      : wanted;
  try {
    const planned = (remat: RematPolicy) =>
      planTrainingMemory(model.module, executor, {
        ...trainingOptions(config, model.module),
        ...{ remat, rows: config.batch.rows, tokens: config.batch.tokens },
        signal,
      });
    const own = await planned(config.remat);
    // Before the other policies are compiled: the run compiles its own alone.
    const items = [...own.items, ...processItems(model.module)];
    const activations: Partial<Record<RematPolicy, number>> = {};
    for (const remat of rematPolicies) {
      const { workspaces } = remat === config.remat ? own : await planned(remat);
      activations[remat] = workspaces.backward!;
    }
    return {
      items,
      total: items.reduce((sum, { bytes }) => sum + bytes, 0),
      activations: activations as Record<RematPolicy, number>,
    };
  } finally {
    if (typeof wanted === 'string') await executor[Symbol.asyncDispose]();
  }
}

function processItems({ parameters }: Module): MemoryItem[] {
  const largest = Math.max(
    0,
    ...parameters.map(({ type, trainable }) =>
      trainable ? type.shape.reduce((product, dim) => product * Number(dim), 4) : 0,
    ),
  );
  return [
    { what: 'the process as it is: Node, code, the compiled graph', bytes: process.memoryUsage.rss() },
    { what: 'the thread that tokenizes', bytes: tokenizerThreadBytes },
    { what: 'growth of the heap', bytes: heapGrowthBytes },
    { what: 'a tensor on its way to a checkpoint', bytes: largest },
  ];
}
