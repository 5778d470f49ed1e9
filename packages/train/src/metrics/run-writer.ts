/** @file Writes what a training measures into its run folder. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { QuaverError } from '@quaver/numerics';
import type { RunLock } from '../checkpoint/run-lock.ts';
import { createEventFile } from './event-file.ts';
import { appendJsonLines } from './json-lines.ts';
import { type QuantizationRecord, quantizationRecordSchema, type StepRecord, stepRecordSchema } from './records.ts';
import { metricsFile, quantizationFile } from './run-files.ts';

export interface RunWriterOptions {
  /**
   * Step of the checkpoint that the run goes on from: records of later steps are removed, so that the files end as those of a run
   * that never stopped. Left out: a new run, whose folder must hold none.
   */
  readonly resumeAt?: number;
  /** Whether to write TensorBoard event files too. Default true. */
  readonly tensorboard?: boolean;
}

export interface RunWriter {
  /** Appends a line to `metrics.jsonl`; when it resolves, the record survives the death of the process. */
  step(record: StepRecord): Promise<void>;
  /** Appends lines to `quantization.jsonl`. */
  quantization(records: readonly QuantizationRecord[]): Promise<void>;
  /** Waits until everything is on disk. Call it before a checkpoint is saved, so that no record of its steps can be lost. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens `metrics.jsonl`, `quantization.jsonl` and a TensorBoard event file in the folder of `lock`.
 * @throws QuaverError `run-folder-not-empty` when a new run meets an old one, `metrics-corrupt`, `disk-full`, …
 */
export async function openRunWriter(lock: RunLock, options: RunWriterOptions = {}): Promise<RunWriter> {
  const { resumeAt, tensorboard = true } = options;
  const { folder } = lock;
  if (resumeAt === undefined) await checkUnused(folder);
  const keep = resumeAt ?? -1;
  const open: { sync(): Promise<void>; close(): Promise<void> }[] = [];
  const opened = <T extends (typeof open)[number]>(file: T): T => {
    open.push(file);
    return file;
  };
  const close = async () => {
    await Promise.all(open.map((file) => file.close()));
  };
  try {
    const metrics = opened(await appendJsonLines(join(folder, metricsFile), stepRecordSchema, keep));
    const quantized = opened(await appendJsonLines(join(folder, quantizationFile), quantizationRecordSchema, keep));
    const next = resumeAt === undefined ? undefined : resumeAt + 1;
    const events = tensorboard ? opened(await createEventFile(folder, next)) : undefined;
    return {
      async step(record) {
        await metrics.append([record]);
        await events?.scalars(record.step, stepScalars(record));
      },
      async quantization(records) {
        await quantized.append(records);
        for (const [step, scalars] of quantizationScalars(records)) await events?.scalars(step, scalars);
      },
      async flush() {
        await Promise.all(open.map((file) => file.sync()));
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function checkUnused(folder: string): Promise<void> {
  const file = join(folder, metricsFile);
  const { size } = await stat(file).catch(() => ({ size: 0 }));
  if (size === 0) return;
  throw new QuaverError('run-folder-not-empty', `${folder}: holds the records of another run`, {
    where: { file },
    hint: 'Choose another folder for the new run, or resume this one.',
  });
}

/** Every number of a record but the step, those in groups as `seconds/data`. */
function* stepScalars({ step: _, ...numbers }: StepRecord): Generator<readonly [string, number], void> {
  for (const [name, value] of Object.entries(numbers)) {
    if (typeof value === 'number') yield [name, value];
    else for (const [part, number] of Object.entries(value ?? {})) yield [`${name}/${part}`, number];
  }
}

function quantizationScalars(records: readonly QuantizationRecord[]): Map<number, [string, number][]> {
  const bySteps = new Map<number, [string, number][]>();
  for (const { step, tensor, saturated, underflow, amax } of records) {
    const scalars = bySteps.get(step) ?? [];
    scalars.push([`saturated/${tensor}`, saturated], [`underflow/${tensor}`, underflow], [`amax/${tensor}`, amax]);
    bySteps.set(step, scalars);
  }
  return bySteps;
}
