/** @file Reads the records of a run folder back. */
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileError } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import { readJsonLines } from './json-lines.ts';
import { type QuantizationRecord, quantizationRecordSchema, type StepRecord, stepRecordSchema } from './records.ts';
import { metricsFile, quantizationFile } from './run-files.ts';

/** The records of one run, as reports show them. */
export interface RunRecords {
  /** The folder's own name. */
  readonly name: string;
  /** At least one, in the order of the file. */
  readonly steps: readonly StepRecord[];
  readonly quantization: readonly QuantizationRecord[];
}

/**
 * Reads a run folder, that of a running training too: a line that is being written is left out.
 * @throws QuaverError `run-not-found`, `run-not-a-run` for a folder without records of a run, `run-empty` before the first step,
 * `metrics-corrupt`
 */
export async function readRun(folder: string): Promise<RunRecords> {
  const where = { file: folder };
  const stats = await stat(folder).catch((error) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw fileError(folder, error);
    throw new QuaverError('run-not-found', `${folder}: there is no such run folder`, {
      where,
      hint: 'Give the folder that the training was told to write to (--out).',
    });
  });
  if (!stats.isDirectory() || !(await exists(join(folder, metricsFile)))) {
    const problem = stats.isDirectory() ? `has no ${metricsFile}` : 'is a file, not a folder';
    throw new QuaverError('run-not-a-run', `${folder}: ${problem}`, {
      where,
      hint: 'Give the folder that the training was told to write to (--out).',
    });
  }
  const steps = await readJsonLines(join(folder, metricsFile), stepRecordSchema);
  if (steps.length === 0) {
    throw new QuaverError('run-empty', `${folder}: the run has no finished step yet`, {
      where,
      hint: 'Wait for the first step of the training, or resume it.',
    });
  }
  const quantized = join(folder, quantizationFile);
  const quantization = (await exists(quantized)) ? await readJsonLines(quantized, quantizationRecordSchema) : [];
  return { name: basename(resolve(folder)), steps, quantization };
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
