import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { checkAborted } from './settings.ts';

export interface FileDigest {
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** Feeds a whole file to the hashes; returns the number of bytes read. */
export async function hashInto(hashes: readonly Hash[], path: string, signal?: AbortSignal): Promise<number> {
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    checkAborted(signal);
    for (const hash of hashes) hash.update(chunk);
    bytes += chunk.length;
  }
  return bytes;
}

/** Size and SHA-256 of a file, or undefined where there is no file. */
export async function digestFile(path: string, signal?: AbortSignal): Promise<FileDigest | undefined> {
  if ((await fileBytes(path)) === undefined) return undefined;
  const hash = createHash('sha256');
  const bytes = await hashInto([hash], path, signal);
  return { bytes, sha256: hash.digest('hex') };
}

/** Size of a regular file, or undefined where there is none. */
export async function fileBytes(path: string): Promise<number | undefined> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return found?.isFile() ? found.size : undefined;
}
