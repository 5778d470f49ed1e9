import { QuaverError } from '@quaver/numerics';

const known: Readonly<Record<string, readonly [code: string, problem: string, hint?: string]>> = {
  ENOENT: ['file-not-found', 'no such file or folder'],
  ENOTDIR: ['file-not-found', 'a part of the path is not a folder'],
  EACCES: ['file-not-permitted', 'permission denied'],
  EPERM: ['file-not-permitted', 'permission denied'],
  EROFS: ['file-not-permitted', 'the file system is read-only'],
  EISDIR: ['file-is-directory', 'expected a file, found a folder'],
  ENOSPC: ['disk-full', 'no space left on the device', 'Free some space or choose another folder, then run it again.'],
  EDQUOT: ['disk-full', 'the disk quota is used up', 'Free some space or choose another folder, then run it again.'],
  EFBIG: ['file-too-large', 'the file is larger than the system allows'],
};

/** A system error as a QuaverError that names the path; anything else comes back as it is. */
export function fileError(path: string, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  if (error instanceof QuaverError || code === undefined) return error;
  const [name, problem, hint] = known[code] ?? ['file-io', (error as Error).message];
  return new QuaverError(name, `${path}: ${problem}`, {
    where: { file: path },
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}
