/** @file Node only: turns errors of the file system into Quaver errors. */
import { QuaverError } from '@quaver/numerics';

const known: Readonly<Record<string, readonly [code: string, problem: string, hint: string]>> = {
  ENOENT: ['file-not-found', 'there is no such file or folder', 'Check the path.'],
  EACCES: ['file-not-permitted', 'access is denied', 'Check the permissions of the file and its folder.'],
  EPERM: ['file-not-permitted', 'access is denied', 'Check the permissions of the file and its folder.'],
  EROFS: ['file-not-permitted', 'the file system is read-only', 'Choose another folder.'],
  EISDIR: ['file-is-directory', 'this is a folder', 'Give the path of a file.'],
  ENOTDIR: ['file-not-found', 'a part of the path is not a folder', 'Check the path.'],
  ENOSPC: ['disk-full', 'the disk is full', 'Free some space or choose another folder; nothing was left behind.'],
  EDQUOT: [
    'disk-full',
    'the disk quota is used up',
    'Free some space or choose another folder; nothing was left behind.',
  ],
  EFBIG: [
    'file-too-large',
    'the file grew beyond what is allowed here',
    'Raise the file size limit or choose another disk.',
  ],
};

/** Quaver errors, aborts and errors that do not come from the file system pass through unchanged. */
export function fileError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof QuaverError || !('syscall' in error)) return error;
  const code = String((error as NodeJS.ErrnoException).code);
  const [stable, problem, hint] = known[code] ?? ['file-io', error.message, 'Check the disk and the path.'];
  return new QuaverError(stable, `${path}: ${problem}`, { hint, where: { file: path }, cause: error });
}
