/** @file The files of a dataset, read piece by piece. */
import { isUtf8 } from 'node:buffer';
import type { ByteSource } from '@quaver/formats';
import { dataError } from '../example.ts';

export interface DataFile {
  readonly path: string;
  readonly format: 'jsonl' | 'text';
  /** Text: what stands between documents. Missing: the file is one document. */
  readonly separator?: string;
  /** Text: longer documents are tokenized in parts of at most so many bytes. */
  readonly passageBytes: number;
}

const chunkBytes = 1 << 20;
const newline = 10;
const whiteSpace = new Set([9, newline, 13, 32]);

export async function* fileChunks(
  source: ByteSource,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < source.size; at += chunkBytes) {
    yield await source.read(at, Math.min(chunkBytes, source.size - at), signal);
  }
}

export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => whiteSpace.has(byte));
}

export function countLines(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(newline); at >= 0; at = bytes.indexOf(newline, at + 1)) count++;
  return count;
}

/**
 * A byte order mark at the beginning of the file is left out.
 * @param line of the first byte
 * @throws QuaverError `data-bad-utf8`
 */
export function decodeText(bytes: Uint8Array, place: { file: string; line: number; offset: number }): string {
  const { file, line, offset } = place;
  if (isUtf8(bytes)) return new TextDecoder('utf-8', { ignoreBOM: offset > 0 }).decode(bytes);
  let from = 0;
  let bad = line;
  for (;;) {
    const end = bytes.indexOf(newline, from);
    if (end < 0 || !isUtf8(bytes.subarray(from, end))) break;
    from = end + 1;
    bad++;
  }
  throw dataError('data-bad-utf8', { file, line: bad }, 'is not UTF-8', 'Convert the file to UTF-8.');
}
