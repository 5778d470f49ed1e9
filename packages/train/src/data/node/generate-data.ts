import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { fileError } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import type { DataFilesConfig, GeneratedDataConfig } from '../../config-types.ts';

type Generator = (options: {
  readonly path: string;
  readonly count: number;
  readonly seed: number;
  readonly split: 'train' | 'validation';
  readonly signal?: AbortSignal;
}) => Promise<unknown>;

/**
 * Writes the data that a configuration has generated into the folder `data` of the run, and gives its files. The same
 * configuration writes the same files again.
 * @throws QuaverError `data-generator-invalid`, `file-…`, and what the generator throws
 */
export async function generateData(
  { generate, ...packing }: GeneratedDataConfig,
  runFolder: string,
  signal?: AbortSignal,
): Promise<DataFilesConfig> {
  const writeDataset = await loadGenerator(generate.module);
  const folder = path.join(path.resolve(runFolder), 'data');
  await mkdir(folder, { recursive: true }).catch((error) => Promise.reject(fileError(folder, error)));
  const write = async (split: 'train' | 'validation', count: number) => {
    const file = path.join(folder, `${split}.jsonl`);
    await writeDataset({ path: file, count, seed: generate.seed, split, ...(signal ? { signal } : {}) });
    return file;
  };
  const files = await write('train', generate.count);
  if (generate.validation === undefined) return { ...packing, files };
  return { ...packing, files, validation: { file: await write('validation', generate.validation) } };
}

async function loadGenerator(module: string): Promise<Generator> {
  const invalid = (problem: string, cause?: unknown) =>
    new QuaverError('data-generator-invalid', `data.generate.module '${module}' ${problem}`, {
      hint: 'Name an installed package or a file that exports writeDataset({ path, count, seed, split, signal }).',
      where: { module },
      cause,
    });
  let loaded: { readonly writeDataset?: unknown };
  try {
    loaded = await import(path.isAbsolute(module) ? pathToFileURL(module).href : module);
  } catch (cause) {
    throw invalid(`cannot be loaded: ${(cause as Error).message}`, cause);
  }
  if (typeof loaded.writeDataset !== 'function') throw invalid('exports no function writeDataset');
  return loaded.writeDataset as Generator;
}
