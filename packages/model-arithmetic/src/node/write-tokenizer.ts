import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { tokenizerFiles } from '../tokenizer.ts';
import { fileError, writeFileAtomically } from './write-file.ts';

/**
 * Writes `tokenizer.json` and `tokenizer_config.json` into a folder, which is made where there is none.
 * @throws QuaverError `disk-full`, `file-not-permitted`, `file-not-found`, `file-is-directory`, `file-io`
 */
export async function writeTokenizer(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error) => Promise.reject(fileError(folder, error)));
  for (const [name, bytes] of tokenizerFiles()) {
    await writeFileAtomically(path.join(folder, name), (handle) => handle.writeFile(bytes));
  }
}
