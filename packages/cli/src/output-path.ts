import { access, constants, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileError } from '@quaver/ir/node';
import { QuaverError } from '@quaver/numerics';
import { UsageError } from './report-error.ts';

/**
 * Fails before any work when a file could not be written in the end, or would replace what it is made from.
 * @throws QuaverError `file-…`
 */
export async function checkOutput(output: string, input?: string): Promise<void> {
  const folder = path.dirname(output);
  try {
    if (!(await stat(folder)).isDirectory()) {
      throw new QuaverError('file-not-found', `${folder}: this is not a folder`, {
        hint: 'Choose another path for the output.',
        where: { file: output },
      });
    }
    await access(folder, constants.W_OK);
  } catch (error) {
    throw fileError(error, folder);
  }
  const existing = await stat(output).catch(() => undefined);
  if (existing?.isDirectory()) {
    throw new QuaverError('file-is-directory', `${output}: this is a folder`, {
      hint: 'Give the path of the file to write.',
      where: { file: output },
    });
  }
  if (input !== undefined && existing && (await sameFile(input, output))) {
    throw new UsageError(`the output ${output} is the input`, 'Write to another file.');
  }
}

async function sameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((file) => realpath(file).catch(() => undefined)));
  return first !== undefined && first === second;
}
