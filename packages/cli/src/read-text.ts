import { readFile } from 'node:fs/promises';
import { fileError } from '@quaver/ir/node';
import { QuaverError } from '@quaver/numerics';

/** A text file in UTF-8. @throws QuaverError `file-…`, `text-invalid` */
export async function readText(file: string): Promise<string> {
  const bytes = await readFile(file).catch((error) => Promise.reject(fileError(error, file)));
  return decode(bytes, file);
}

/** All of a stream as UTF-8. @throws QuaverError `text-invalid` */
export async function readStream(stream: AsyncIterable<Uint8Array | string>, name: string): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return decode(Buffer.concat(chunks), name);
}

function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new QuaverError('text-invalid', `${name}: this is not text in UTF-8`, {
      hint: 'Give a plain text file.',
      where: { file: name },
      cause,
    });
  }
}
