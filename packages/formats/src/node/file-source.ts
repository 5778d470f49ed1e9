import { type FileHandle, open } from 'node:fs/promises';
import { QuaverError } from '@quaver/numerics';
import { type ByteSource, checkRange, throwIfAborted } from '../byte-source.ts';
import { fileError } from './file-error.ts';

/** One read call is kept below the 2 GiB limit of the platform, and short enough to notice an abort. */
const maxReadBytes = 256 << 20;

/**
 * A file of any size, read by range.
 * @throws QuaverError `file-not-found`, `file-not-permitted`, `file-is-directory`, `file-not-a-file` (a device)
 */
export async function openFileSource(path: string): Promise<ByteSource> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    throw fileError(path, error);
  }
  const stats = await handle.stat();
  if (!stats.isFile()) {
    await handle.close();
    const [code, found] = stats.isDirectory() ? ['file-is-directory', 'a folder'] : ['file-not-a-file', 'a device'];
    throw new QuaverError(code, `${path}: expected a file, found ${found}`, { where: { file: path } });
  }
  const { size } = stats;
  return {
    name: path,
    size,
    async read(offset, length, signal) {
      checkRange(path, size, offset, length);
      const target = allocate(path, offset, length);
      for (let done = 0; done < length; ) {
        throwIfAborted(signal, path);
        const { bytesRead } = await handle
          .read(target, done, Math.min(length - done, maxReadBytes), offset + done)
          .catch((error) => Promise.reject(fileError(path, error)));
        if (bytesRead === 0) throw shrunk(path, offset + done, size);
        done += bytesRead;
      }
      return target;
    },
    close: () => handle.close(),
  };
}

function allocate(path: string, offset: number, length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new QuaverError('out-of-memory', `${path}: no room for the ${length} bytes at byte ${offset}`, {
      where: { file: path, byte: offset },
      cause,
    });
  }
}

function shrunk(path: string, byte: number, size: number): QuaverError {
  return new QuaverError('source-truncated', `${path}: ends at byte ${byte}, it had ${size} bytes when it was opened`, {
    where: { file: path, byte },
    hint: 'Something else is writing this file.',
  });
}
