import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { QuaverError } from '@quaver/numerics';

/**
 * Lets `fill` write a file under a temporary name, and renames it when it is complete and on disk. After an error nothing is
 * left, and a file that was there before is untouched.
 * @throws QuaverError `disk-full`, `file-not-permitted`, `file-not-found` (the folder), `file-is-directory`, `file-io`, and what
 *   `fill` throws
 */
export async function writeFileAtomically(path: string, fill: (handle: FileHandle) => Promise<void>): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.partial`;
  let handle: FileHandle | undefined;
  try {
    handle = await open(temporary, 'wx');
    await fill(handle);
    await handle.sync();
    await handle.close();
    await rename(temporary, path);
  } catch (error) {
    await handle?.close().catch(() => undefined);
    if (handle) await unlink(temporary).catch(() => undefined);
    throw fileError(path, error);
  }
}

const codes: Readonly<Record<string, string>> = {
  ENOSPC: 'disk-full',
  EDQUOT: 'disk-full',
  EACCES: 'file-not-permitted',
  EPERM: 'file-not-permitted',
  EROFS: 'file-not-permitted',
  ENOENT: 'file-not-found',
  ENOTDIR: 'file-not-found',
  EISDIR: 'file-is-directory',
};

/** A system error as a QuaverError that names the path; anything else comes back as it is. */
export function fileError(path: string, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  if (error instanceof QuaverError || code === undefined) return error;
  return new QuaverError(codes[code] ?? 'file-io', `${path}: ${(error as Error).message}`, {
    hint: 'Check that the folder exists, can be written to, and has space left.',
    where: { file: path },
    cause: error,
  });
}
