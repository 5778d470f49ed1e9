import { createHash } from 'node:crypto';
import type { ByteSource } from '@quaver/formats';
import { openFileSource } from '@quaver/formats/node';
import { QuaverError } from '@quaver/numerics';
import type { ExampleEncoder } from '../encode-example.ts';
import type { TokenizedExample } from '../example.ts';
import type { ExampleSource } from '../example-source.ts';
import { parseLine } from '../parse-line.ts';
import { type DataFile, decodeText, fileChunks } from './data-file.ts';
import { ExampleIndex } from './example-index.ts';
import { indexJsonl } from './index-jsonl.ts';
import { indexText } from './index-text.ts';

/** How far the one reading of all data that comes first has got. */
export interface IndexProgress {
  readonly phase: 'index';
  readonly file: string;
  readonly doneBytes: number;
  /** Of this file. */
  readonly totalBytes: number;
}

export interface IndexOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: IndexProgress) => void) | undefined;
}

/** The examples of files, read where they are needed. */
export class FileExamples {
  readonly #files: readonly DataFile[];
  readonly #sources: readonly ByteSource[];
  readonly #encoder: ExampleEncoder;
  readonly index: ExampleIndex;
  /** SHA-256 over sizes, contents, and how they are taken apart. */
  readonly digest: string;

  private constructor(
    files: readonly DataFile[],
    sources: readonly ByteSource[],
    encoder: ExampleEncoder,
    found: { readonly index: ExampleIndex; readonly digest: string },
  ) {
    this.#files = files;
    this.#sources = sources;
    this.#encoder = encoder;
    this.index = found.index;
    this.digest = found.digest;
  }

  /**
   * Reads all files once, a mebibyte at a time: finds the examples, checks what can be checked without tokenizing them, and takes
   * the digest.
   * @throws QuaverError `data-empty`, `data-…` with file and line, `file-…`, `aborted`
   */
  static async open(files: readonly DataFile[], encoder: ExampleEncoder, options: IndexOptions): Promise<FileExamples> {
    const sources: ByteSource[] = [];
    try {
      for (const { path } of files) sources.push(await openFileSource(path));
      const index = new ExampleIndex();
      const digest = createHash('sha256');
      for (const [number, file] of files.entries()) {
        const content = await indexFile(file, sources[number]!, index, options);
        const { format, separator, passageBytes } = file;
        const rules = format === 'jsonl' ? { format } : { format, separator, passageBytes };
        digest.update(JSON.stringify({ ...rules, bytes: sources[number]!.size, content }));
      }
      return new FileExamples(files, sources, encoder, { index, digest: digest.digest('hex') });
    } catch (error) {
      for (const source of sources) await source.close();
      throw error;
    }
  }

  /** Tokenized in this thread. */
  asSource(): ExampleSource {
    return {
      count: this.index.count,
      digest: this.digest,
      ahead: 0,
      bytes: (example) => this.index.at(example).length,
      place: (example) => this.index.place(example),
      read: (examples) => this.read(examples),
      close: () => this.close(),
    };
  }

  /** @throws QuaverError `data-…` with file and line, `chat-template-…`, `file-…` */
  async read(examples: readonly number[]): Promise<TokenizedExample[]> {
    const tokenized: TokenizedExample[] = [];
    for (const example of examples) tokenized.push(await this.#readOne(example));
    return tokenized;
  }

  async close(): Promise<void> {
    for (const source of this.#sources) await source.close();
  }

  async #readOne(example: number): Promise<TokenizedExample> {
    const { offset, length, begins, ends } = this.index.at(example);
    const place = this.index.place(example);
    const number = this.index.fileOf(example);
    const text = decodeText(await this.#sources[number]!.read(offset, length), { ...place, offset });
    const part = this.#files[number]!.format === 'jsonl' ? parseLine(text, place) : { text, begins, ends };
    return this.#encoder.encode(part, place);
  }
}

/** @returns the SHA-256 of the content */
async function indexFile(file: DataFile, source: ByteSource, index: ExampleIndex, options: IndexOptions) {
  const { signal, onProgress } = options;
  const hash = createHash('sha256');
  let doneBytes = 0;
  async function* chunks() {
    for await (const chunk of fileChunks(source, signal)) {
      hash.update(chunk);
      yield chunk;
      doneBytes += chunk.byteLength;
      onProgress?.({ phase: 'index', file: file.path, doneBytes, totalBytes: source.size });
    }
  }
  const before = index.count;
  index.addFile(file.path);
  const add = index.add.bind(index);
  if (file.format === 'jsonl') await indexJsonl(file.path, chunks(), add);
  else await indexText(file, chunks(), add);
  if (index.count === before) {
    const found = source.size === 0 ? 'is empty' : 'holds white space only';
    throw new QuaverError('data-empty', `${file.path}: ${found}`, {
      where: { file: file.path },
      hint: 'Expected text, or JSON on each line.',
    });
  }
  return hash.digest('hex');
}
