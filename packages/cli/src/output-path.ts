import { access, constants, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileError } from '@quaver/ir/node';
import { QuaverError } from '@quaver/numerics';
import { UsageError } from './report-error.ts';

/**
 * Fails before any work when a file could not be written in the end, or would replace what it is made from.
 * @throws QuaverError `file-…`
 */
export async function checkOutput(output: string, ...inputs: readonly string[]): Promise<void> {
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
  for (const input of existing ? inputs : []) {
    if (await sameFile(input, output))
      throw new UsageError(`the output ${output} is the input`, 'Write to another file.');
  }
}

/** Whether two paths that need not exist yet name one file: the same name in the same folder, links resolved. */
export async function sameTarget(a: string, b: string): Promise<boolean> {
  const resolved = await Promise.all(
    [a, b].map(async (file) => {
      const folder = path.dirname(path.resolve(file));
      return path.join(await realpath(folder).catch(() => folder), path.basename(file));
    }),
  );
  return resolved[0] === resolved[1] || (await sameFile(a, b));
}

async function sameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((file) => realpath(file).catch(() => undefined)));
  return first !== undefined && first === second;
}
