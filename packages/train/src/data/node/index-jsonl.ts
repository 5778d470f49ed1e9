import { dataError } from '../example.ts';
import { parseLine } from '../parse-line.ts';
import { decodeText, isBlank } from './data-file.ts';
import type { IndexedExample } from './example-index.ts';

/** Longer lines are taken for a mistake: a file without line ends would be read into memory as a whole. */
const maxLineBytes = 64 << 20;
const newline = 10;

/**
 * Finds the lines of a JSONL file and checks each; blank ones are left out.
 * @throws QuaverError `data-bad-utf8`, `data-malformed-json`, `data-missing-field`, `data-bad-field`, `data-line-too-long`
 */
export async function indexJsonl(
  file: string,
  chunks: AsyncIterable<Uint8Array>,
  add: (example: IndexedExample) => void,
): Promise<void> {
  let pending = Buffer.alloc(0);
  let offset = 0;
  let line = 1;
  const take = (length: number) => {
    const bytes = pending.subarray(0, length);
    if (!isBlank(bytes)) {
      parseLine(decodeText(bytes, { file, line, offset }), { file, line });
      add({ offset, length, line, begins: true, ends: true });
    }
  };
  for await (const chunk of chunks) {
    let searched = pending.length;
    pending = Buffer.concat([pending, chunk]);
    for (let end = pending.indexOf(newline, searched); end >= 0; end = pending.indexOf(newline, searched)) {
      take(end);
      pending = pending.subarray(end + 1);
      offset += end + 1;
      line++;
      searched = 0;
    }
    if (pending.length > maxLineBytes) {
      throw dataError(
        'data-line-too-long',
        { file, line },
        `has more than ${maxLineBytes} bytes`,
        'JSONL has one example on each line; for plain text choose the format text.',
      );
    }
  }
  take(pending.length);
}
