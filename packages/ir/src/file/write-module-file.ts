/** @file Node only: writes modules to files, one tensor at a time, so that a reader never sees half a file. */
import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Module } from '../module.ts';
import { CHUNK_BYTES, copyTensor, type TensorProgress } from './copy-tensor.ts';
import { type EncodedModule, type EncodeOptions, encodeModule } from './encode.ts';
import { resolveExternal } from './external-tensor.ts';
import { fileError } from './file-error.ts';

export interface WriteModuleFileOptions extends EncodeOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: TensorProgress) => void;
}

/**
 * Writes a .qvr file: to a temporary name in the same folder, flushed to disk, then renamed. On any error or abort the
 * temporary file is removed and a file that had the name before is untouched.
 * @throws QuaverError `verify-…`, `file-…`, `disk-full`, `external-path`; the signal's reason
 */
export async function writeModuleFile(
  module: Module,
  path: string,
  options: WriteModuleFileOptions = {},
): Promise<void> {
  const encoded = encodeModule(module, options);
  if (options.external !== 'embed') {
    for (const { data } of module.parameters) if (data?.external) await resolveExternal(path, data.external.uri);
  }
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    await writeFlushed(temporary, encoded, options);
    options.signal?.throwIfAborted();
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw fileError(error, path);
  }
}

async function writeFlushed(path: string, encoded: EncodedModule, options: WriteModuleFileOptions): Promise<void> {
  const handle = await open(path, 'wx');
  try {
    await writeSegments(handle, encoded, options);
    await writeAll(handle, encoded.header, 0);
    await handle.truncate(encoded.totalBytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The header follows last: it holds the digests of the data. Gaps between segments are never written and read as zeros. */
async function writeSegments(
  handle: FileHandle,
  { segments, setDigest }: EncodedModule,
  { signal, onProgress }: WriteModuleFileOptions,
): Promise<void> {
  const totalBytes = segments.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let bytes = 0;
  for (const [i, { name, offset, data }] of segments.entries()) {
    const hash = createHash('sha256');
    let at = offset;
    await copyTensor(name, data, signal, async (chunk) => {
      hash.update(chunk);
      await writeAll(handle, chunk, at);
      at += chunk.byteLength;
      bytes += chunk.byteLength;
      onProgress?.({ kind: 'write', tensor: name, bytes, totalBytes });
    });
    setDigest(i, hash.digest());
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const { bytesWritten } = await handle.write(
      bytes,
      done,
      Math.min(CHUNK_BYTES, bytes.byteLength - done),
      position + done,
    );
    done += bytesWritten;
  }
}
