/** @file Node only: a file as a source of bytes. */
import { type FileHandle, open } from 'node:fs/promises';
import { QuaverError } from '@quaver/numerics';
import type { ByteSource } from './byte-source.ts';
import { fileError } from './file-error.ts';

/** One read call moves at most this much: far below the limit of 2 GiB, and aborts are noticed soon. */
const CHUNK_BYTES: number = 64 * 1024 * 1024;

/** An open file. Reads go to the file that was opened, even when another takes its name. */
export interface FileSource extends ByteSource {
  close(): Promise<void>;
}

/** @throws QuaverError `file-…` */
export async function openFileSource(path: string): Promise<FileSource> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const stat = await handle.stat();
    if (stat.isDirectory()) {
      throw new QuaverError('file-is-directory', `${path}: this is a folder`, {
        hint: 'Give the path of a file.',
        where: { file: path },
      });
    }
    if (!stat.isFile()) {
      throw new QuaverError('file-not-a-file', `${path}: this is not a regular file`, {
        hint: 'Reading by range needs a regular file.',
        where: { file: path },
      });
    }
    return fileSource(handle, path, stat.size);
  } catch (error) {
    await handle?.close();
    throw fileError(error, path);
  }
}

function fileSource(handle: FileHandle, path: string, size: number): FileSource {
  return {
    name: path,
    size,
    async read(offset, length, signal) {
      try {
        return await readRange(handle, offset, length, signal);
      } catch (error) {
        throw fileError(error, path);
      }
    },
    close: () => handle.close(),
  };
}

/** Fewer bytes than `length` when the file ends early. */
async function readRange(handle: FileHandle, offset: number, length: number, signal?: AbortSignal) {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(bytes, done, Math.min(CHUNK_BYTES, length - done), offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}
