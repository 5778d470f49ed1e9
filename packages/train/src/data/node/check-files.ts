import { stat } from 'node:fs/promises';
import { fileError } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import type { TrainConfig } from '../../config-types.ts';

/**
 * Whether the files that a configuration names are there; what is in them is not read. Data that is generated has none yet.
 * @throws QuaverError `file-not-found` and other `file-…`, `data-empty`
 */
export async function checkDataFiles(data: TrainConfig['data']): Promise<void> {
  if (!('files' in data)) return;
  const { files, validation } = data;
  const held = validation && 'file' in validation ? validation.file : [];
  for (const file of [files, held].flat()) {
    const stats = await stat(file).catch((error) => Promise.reject(fileError(file, error)));
    if (stats.isFile() && stats.size > 0) continue;
    throw new QuaverError('data-empty', `${file}: ${stats.isFile() ? 'is empty' : 'is not a file'}`, {
      where: { file },
      hint: 'Give text or JSONL files with examples.',
    });
  }
}
