import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw } from 'node:zlib';
import { QuaverError } from '@quaver/numerics';
import type { FileDigest } from './file-digest.ts';

/** The end record with the longest comment that the format allows. */
const MAX_END_BYTES = 22 + 0xffff;
const MAX_DIRECTORY_BYTES = 16 * 1024 * 1024;
const STORED = 0;
const DEFLATED = 8;

interface Entry {
  readonly method: number;
  readonly crc: number;
  readonly packedBytes: number;
  readonly bytes: number;
  readonly headerOffset: number;
}

export interface ExtractOptions {
  readonly signal?: AbortSignal | undefined;
  onBytes?(written: number, total: number): void;
}

/**
 * Streams one member of a zip archive (PKWARE APPNOTE 4.3; stored or deflated, no encryption, no Zip64) to a file. Its size
 * must be `expectedBytes`; the CRC-32 of the archive is checked.
 * @throws QuaverError `zip-damaged`, `zip-unsupported`, `zip-member-missing`
 */
export async function extractZipMember(
  archive: string,
  member: string,
  expectedBytes: number,
  destination: string,
  options: ExtractOptions = {},
): Promise<FileDigest> {
  const handle = await open(archive);
  try {
    const entry = await findEntry(handle, archive, member);
    if (entry.bytes !== expectedBytes) {
      throw damaged(archive, `${member} has ${entry.bytes} bytes, expected ${expectedBytes}`);
    }
    const start = await dataOffset(handle, archive, entry);
    return await unpack(handle, archive, member, entry, start, destination, options);
  } finally {
    await handle.close();
  }
}

async function findEntry(handle: FileHandle, archive: string, member: string): Promise<Entry> {
  const { size } = await handle.stat();
  const tail = await readAt(handle, archive, Math.max(0, size - MAX_END_BYTES), Math.min(size, MAX_END_BYTES));
  const end = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (end < 0 || end + 22 > tail.length) throw damaged(archive, 'no end record: it is truncated, or no zip archive');
  const directoryBytes = tail.readUInt32LE(end + 12);
  const directoryOffset = tail.readUInt32LE(end + 16);
  if (directoryOffset === 0xffffffff) throw unsupported(archive, 'it is a Zip64 archive');
  if (directoryBytes > MAX_DIRECTORY_BYTES || directoryOffset + directoryBytes > size) {
    throw damaged(archive, `a directory of ${directoryBytes} bytes at byte ${directoryOffset} of ${size}`);
  }
  const directory = await readAt(handle, archive, directoryOffset, directoryBytes);
  for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === 0x02014b50; ) {
    const nameBytes = directory.readUInt16LE(at + 28);
    if (directory.toString('utf8', at + 46, at + 46 + nameBytes) === member)
      return readEntry(directory, at, archive, member);
    at += 46 + nameBytes + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  throw new QuaverError('zip-member-missing', `${archive}: there is no ${member} inside`, { where: { file: archive } });
}

function readEntry(directory: Buffer, at: number, archive: string, member: string): Entry {
  const entry = {
    method: directory.readUInt16LE(at + 10),
    crc: directory.readUInt32LE(at + 16),
    packedBytes: directory.readUInt32LE(at + 20),
    bytes: directory.readUInt32LE(at + 24),
    headerOffset: directory.readUInt32LE(at + 42),
  };
  if (directory.readUInt16LE(at + 8) & 1) throw unsupported(archive, `${member} is encrypted`);
  if (entry.method !== STORED && entry.method !== DEFLATED)
    throw unsupported(archive, `${member} uses compression ${entry.method}`);
  return entry;
}

/** The local header repeats the name and has an extra field of its own length. */
async function dataOffset(handle: FileHandle, archive: string, entry: Entry): Promise<number> {
  const header = await readAt(handle, archive, entry.headerOffset, 30);
  if (header.readUInt32LE(0) !== 0x04034b50) throw damaged(archive, `no file header at byte ${entry.headerOffset}`);
  return entry.headerOffset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}

async function unpack(
  handle: FileHandle,
  archive: string,
  member: string,
  entry: Entry,
  start: number,
  destination: string,
  { signal, onBytes }: ExtractOptions,
): Promise<FileDigest> {
  const sha256 = createHash('sha256');
  let bytes = 0;
  let crc = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > entry.bytes) return done(damaged(archive, `${member} unpacks to more than its ${entry.bytes} bytes`));
      crc = crc32(chunk, crc);
      sha256.update(chunk);
      onBytes?.(bytes, entry.bytes);
      done(null, chunk);
    },
  });
  const packed = handle.createReadStream({ start, end: start + entry.packedBytes - 1, autoClose: false });
  const output = createWriteStream(destination, { flags: 'wx', flush: true });
  const stages = entry.method === DEFLATED ? [packed, createInflateRaw(), meter, output] : [packed, meter, output];
  try {
    await pipeline(stages, signal ? { signal } : {});
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    throw code.startsWith('Z_') ? damaged(archive, `${member}: ${(error as Error).message}`) : error;
  }
  if (bytes !== entry.bytes || crc !== entry.crc)
    throw damaged(archive, `${member} does not have its announced CRC-32`);
  return { bytes, sha256: sha256.digest('hex') };
}

async function readAt(handle: FileHandle, archive: string, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) throw damaged(archive, `it ends at byte ${position + filled}`);
    filled += bytesRead;
  }
  return buffer;
}

const damaged = (archive: string, problem: string) =>
  new QuaverError('zip-damaged', `${archive}: ${problem}`, {
    hint: 'The archive is not the one that was published. Pull again.',
    where: { file: archive },
  });

const unsupported = (archive: string, problem: string) =>
  new QuaverError('zip-unsupported', `${archive}: ${problem}`, { where: { file: archive } });
