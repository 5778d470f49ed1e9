import { open } from 'node:fs/promises';
import { QuaverError } from '@quaver/numerics';
import { type ModuleFile, readModule } from '@quaver/sdk/node';
import type { Run } from './run.ts';

/**
 * Opens the .qvr file that a command was given; a checkpoint gets the command that would import it.
 * @throws QuaverError `model-not-imported`, and as `readModule`
 */
export async function openModel(run: Run, file: string): Promise<ModuleFile> {
  try {
    return await readModule(file, { signal: run.signal });
  } catch (error) {
    if (error instanceof QuaverError && (await isCheckpoint(file, error.code))) {
      throw new QuaverError('model-not-imported', `${file}: this is a checkpoint, not a module`, {
        hint: `Import it first: quaver import ${file} -o model.qvr`,
        where: { file },
        cause: error,
      });
    }
    throw error;
  }
}

async function isCheckpoint(file: string, code: string): Promise<boolean> {
  if (code === 'file-is-directory') return true;
  if (code !== 'module-identifier') return false;
  const handle = await open(file, 'r');
  try {
    const { buffer } = await handle.read(new Uint8Array(9), 0, 9, 0);
    const start = String.fromCharCode(...buffer);
    return start.startsWith('GGUF') || start.slice(4) === '\0\0\0\0{';
  } finally {
    await handle.close();
  }
}
