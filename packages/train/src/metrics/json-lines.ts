/** @file JSON-lines files of records that have a step: appended to, cut back to a step, read again. */
import { type FileHandle, open } from 'node:fs/promises';
import { fileError } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import type { z } from 'zod';
import { encodeRecord } from './records.ts';

const newline = 0x0a;
const readBytes = 1 << 20;
/** Longer lines are not ours: nothing is read into memory without end. */
const mostLineBytes = 64 << 20;

/** A line that ends where the file, or the line feed, says that it ends. */
interface Line {
  readonly bytes: Uint8Array;
  /** From 1. */
  readonly number: number;
  /** Byte offset in the file right behind the line and its line feed. */
  readonly end: number;
  /** Whether a line feed ends it; the last line of a process that was killed while it wrote has none. */
  readonly complete: boolean;
}

async function* lines(file: string, handle: FileHandle): AsyncGenerator<Line, void> {
  let rest = new Uint8Array(0);
  let number = 0;
  let end = 0;
  const chunk = new Uint8Array(readBytes);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(chunk, 0, readBytes, at);
    if (bytesRead === 0) break;
    at += bytesRead;
    const bytes = new Uint8Array(rest.byteLength + bytesRead);
    bytes.set(rest);
    bytes.set(chunk.subarray(0, bytesRead), rest.byteLength);
    let start = 0;
    for (let stop = bytes.indexOf(newline); stop >= 0; stop = bytes.indexOf(newline, start)) {
      end += stop + 1 - start;
      yield { bytes: bytes.subarray(start, stop), number: ++number, end, complete: true };
      start = stop + 1;
    }
    rest = bytes.slice(start);
    if (rest.byteLength > mostLineBytes) throw corrupt(file, number + 1, `longer than ${mostLineBytes} bytes`);
  }
  if (rest.byteLength > 0) yield { bytes: rest, number: number + 1, end: end + rest.byteLength, complete: false };
}

/** The record of a line; `undefined` for a torn last line. @throws QuaverError `metrics-corrupt` */
function parseLine<T>(file: string, { bytes, number, complete }: Line, schema: z.ZodType<T>): T | undefined {
  let problem: string;
  try {
    const parsed = schema.safeParse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    problem = issue === undefined ? 'not a record' : `${issue.path.join('.') || 'the record'}: ${issue.message}`;
  } catch (error) {
    if (!complete) return undefined;
    problem = error instanceof Error ? error.message : 'no JSON';
  }
  throw corrupt(file, number, problem);
}

function corrupt(file: string, line: number, problem: string): QuaverError {
  return new QuaverError('metrics-corrupt', `${file}, line ${line}: ${problem}`, {
    where: { file, line },
    hint: 'Expected one JSON record of the run a line. Remove the line, or restore the file.',
  });
}

/**
 * The records of a file in its order; a torn last line is no record.
 * @throws QuaverError `metrics-corrupt`, `file-not-found`, …
 */
export async function readJsonLines<T>(file: string, schema: z.ZodType<T>): Promise<T[]> {
  const handle = await open(file, 'r').catch((error) => Promise.reject(fileError(file, error)));
  try {
    const records: T[] = [];
    for await (const line of lines(file, handle)) {
      const record = parseLine(file, line, schema);
      if (record !== undefined) records.push(record);
    }
    return records;
  } catch (error) {
    throw fileError(file, error);
  } finally {
    await handle.close();
  }
}

/** An open file that records are appended to. */
export interface JsonLinesWriter<T> {
  /** Hands complete lines to the system: they survive the death of the process, `sync` makes them survive that of the machine. */
  append(records: readonly T[]): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file to append to, and creates it where there is none.
 * @param keepThrough records of later steps, and a torn last line, are cut off; −1 keeps nothing
 * @throws QuaverError `metrics-corrupt` for what is kept, `disk-full`, `file-not-permitted`, …
 */
export async function appendJsonLines<T extends { readonly step: number }>(
  file: string,
  schema: z.ZodType<T>,
  keepThrough: number,
): Promise<JsonLinesWriter<T>> {
  const handle = await open(file, 'a+').catch((error) => Promise.reject(fileError(file, error)));
  try {
    const { end, terminated } = await endOfStep(file, handle, schema, keepThrough);
    await handle.truncate(end);
    if (!terminated) await handle.appendFile('\n');
    let size = terminated ? end : end + 1;
    return {
      async append(records) {
        const bytes = new TextEncoder().encode(records.map((record) => `${encodeRecord(record)}\n`).join(''));
        try {
          await handle.appendFile(bytes);
          size += bytes.byteLength;
        } catch (error) {
          // A part of a line must not stand before the line that comes next.
          await handle.truncate(size).catch(() => undefined);
          throw fileError(file, error);
        }
      },
      sync: () => handle.sync().catch((error) => Promise.reject(fileError(file, error))),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw fileError(file, error);
  }
}

/**
 * Where the record of the last step up to `keepThrough` ends, in bytes, and whether a line feed ends it. Looks no further than the
 * first later step.
 */
async function endOfStep<T extends { readonly step: number }>(
  file: string,
  handle: FileHandle,
  schema: z.ZodType<T>,
  keepThrough: number,
): Promise<{ readonly end: number; readonly terminated: boolean }> {
  let place = { end: 0, terminated: true };
  for await (const line of lines(file, handle)) {
    const record = parseLine(file, line, schema);
    if (record === undefined || record.step > keepThrough) break;
    place = { end: line.end, terminated: line.complete };
  }
  return place;
}
