import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, rmdir, statfs, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { QuaverError } from '@quaver/numerics';
import { throwIfAborted } from '../byte-source.ts';
import { fileError } from './file-error.ts';

export interface WriteOptions {
  readonly signal?: AbortSignal;
  /** Called after each piece with the bytes written so far and the total. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** A name beside `path` that nothing else uses, so that the final rename stays on one file system. */
function temporaryName(path: string): string {
  return `${path.replace(/[/\\]+$/, '')}.${randomBytes(6).toString('hex')}.partial`;
}

/** One write call is kept short enough to notice an abort, and below the limits of the platform. */
const maxWriteBytes = 64 << 20;

/**
 * Writes a file under a temporary name and renames it when it is complete and on disk. After any error, the abort
 * included, no partial file is left and a file that was there before is untouched.
 * @throws QuaverError `disk-full`, `file-not-permitted`, `file-not-found` (the folder), `aborted`
 */
export async function writeFileAtomically(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  totalBytes: number,
  { signal, onProgress }: WriteOptions = {},
): Promise<void> {
  await checkFreeSpace(path, totalBytes);
  const temporary = temporaryName(path);
  const handle = await open(temporary, 'wx').catch((error) => Promise.reject(fileError(path, error)));
  try {
    let done = 0;
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.byteLength; ) {
        throwIfAborted(signal, path);
        const { bytesWritten } = await handle.write(chunk, at, Math.min(chunk.byteLength - at, maxWriteBytes));
        at += bytesWritten;
        done += bytesWritten;
        onProgress?.(done, totalBytes);
      }
    }
    await handle.sync();
    await handle.close();
    throwIfAborted(signal, path);
    await rename(temporary, path);
  } catch (error) {
    await handle.close().catch(() => undefined);
    await unlink(temporary).catch(() => undefined);
    throw fileError(path, error);
  }
}

/**
 * Lets `fill` write into a temporary folder and renames it to `folder`, which must not exist or be empty. After an error
 * nothing is left.
 * @throws QuaverError `output-exists`, and as `fill`
 */
export async function writeFolderAtomically(folder: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  const present = await readdir(folder).catch((error) => {
    if (error.code === 'ENOENT') return undefined;
    throw error.code === 'ENOTDIR' ? occupied(folder) : fileError(folder, error);
  });
  if (present !== undefined && present.length > 0) throw occupied(folder);
  const temporary = temporaryName(folder);
  try {
    await mkdir(temporary);
    await fill(temporary);
    if (present !== undefined) await rmdir(folder);
    await rename(temporary, folder);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw fileError(folder, error);
  }
}

/** Fails before the first byte where the disk has no room for the last. */
async function checkFreeSpace(path: string, neededBytes: number): Promise<void> {
  const folder = dirname(path);
  const { bavail, bsize, blocks } = await statfs(folder).catch((error) => Promise.reject(fileError(folder, error)));
  const freeBytes = bavail * bsize;
  if (blocks === 0 || neededBytes <= freeBytes) return; // some virtual file systems report no sizes
  throw new QuaverError('disk-full', `${path}: needs ${neededBytes} bytes, the disk has ${freeBytes} free`, {
    where: { file: path },
    hint: 'Free some space or choose another folder, then run it again.',
  });
}

function occupied(folder: string): QuaverError {
  return new QuaverError('output-exists', `${folder}: expected no folder of this name, or an empty one`, {
    where: { file: folder },
    hint: 'Choose another folder, or remove this one.',
  });
}
