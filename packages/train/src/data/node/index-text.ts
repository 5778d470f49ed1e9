import { countLines, type DataFile, decodeText, isBlank } from './data-file.ts';
import type { IndexedExample } from './example-index.ts';

const newline = 10;
const space = 32;

/**
 * Finds the documents of a text file, and in longer ones the places to cut them: after a line end, else after a space, else
 * between two characters. Documents of white space are left out.
 * @throws QuaverError `data-bad-utf8`
 */
export async function indexText(
  { path, separator, passageBytes }: DataFile,
  chunks: AsyncIterable<Uint8Array>,
  add: (example: IndexedExample) => void,
): Promise<void> {
  const mark = Buffer.from(separator ?? '');
  let pending = Buffer.alloc(0);
  let offset = 0;
  let line = 1;
  let begins = true;
  /** Bytes of `pending` at which no separator begins. */
  let searched = 0;

  const take = (length: number, ends: boolean) => {
    const bytes = pending.subarray(0, length);
    decodeText(bytes, { file: path, line, offset });
    if (!(begins && ends && isBlank(bytes))) add({ offset, length, line, begins, ends });
    begins = ends;
    drop(length);
  };
  const drop = (length: number) => {
    line += countLines(pending.subarray(0, length));
    pending = pending.subarray(length);
    offset += length;
    searched = Math.max(0, searched - length);
  };
  /** Takes what is certain to be whole documents, or parts of them. */
  const takeCertain = () => {
    for (;;) {
      const end = mark.length > 0 ? pending.indexOf(mark, searched) : -1;
      // A separator may have begun in the last bytes.
      searched = end >= 0 ? end : Math.max(searched, pending.length - mark.length + 1);
      if (Math.min(searched, pending.length) > passageBytes) take(cutPoint(pending, passageBytes), false);
      else if (end < 0) return;
      else {
        take(end, true);
        drop(mark.length);
      }
    }
  };

  for await (const chunk of chunks) {
    pending = Buffer.concat([pending, chunk]);
    takeCertain();
  }
  while (pending.length > passageBytes) take(cutPoint(pending, passageBytes), false);
  if (pending.length > 0) take(pending.length, true);
}

/** Where to cut at most `limit` bytes off, so that the rest begins with a line, a word or a character. */
function cutPoint(bytes: Buffer, limit: number): number {
  for (const byte of [newline, space]) {
    const end = bytes.lastIndexOf(byte, limit - 1) + 1;
    if (end > limit / 2) return end;
  }
  let end = limit;
  // Bytes 10xxxxxx go on with a character, of four bytes at most.
  while (end > limit - 3 && (bytes[end]! & 0xc0) === 0x80) end--;
  return end;
}
