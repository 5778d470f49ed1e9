/** @file Examples that another thread reads and tokenizes. */
import { Worker } from 'node:worker_threads';
import type { TokenizerFiles } from '@quaver/generate';
import { QuaverError } from '@quaver/numerics';
import { untilAborted } from '../abort.ts';
import type { TokenizedExample } from '../example.ts';
import type { ExampleSource } from '../example-source.ts';
import type { DataFile } from './data-file.ts';
import { ExampleIndex } from './example-index.ts';
import type { IndexOptions, IndexProgress } from './file-examples.ts';
import type { ErrorData, News, OpenedFiles, Order } from './tokenizer-worker.ts';

/** From the sources it is a .ts file: Node strips the types, and finds the other packages by a condition. */
const extension = /\.\w+$/.exec(import.meta.url)![0];
const workerUrl = new URL(`./tokenizer-worker${extension}`, import.meta.url);
const execArgv = extension === '.ts' ? ['--conditions=@quaver/source'] : [];

/** Groups of examples that are tokenized while the trainer computes. */
const ahead = 4;

interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  readonly onProgress?: ((progress: IndexProgress) => void) | undefined;
}

type OrderWithoutId = Order extends infer O ? (O extends Order ? Omit<O, 'id'> : never) : never;

/** One thread; what was asked of it is answered, also when it dies. It keeps the process alive only while it works. */
export class TokenizerWorker {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #ended: QuaverError | undefined;

  constructor(url: URL = workerUrl) {
    this.#worker = new Worker(url, { execArgv, name: 'quaver-tokenizer' });
    this.#worker.unref();
    this.#worker.on('message', (news: News) => this.#hear(news));
    this.#worker.on('messageerror', (error) => this.#end(workerFailed(error.message, error)));
    this.#worker.on('error', (error) => this.#end(workerFailed((error as Error).message, error)));
    this.#worker.on('exit', (code) => this.#end(workerFailed(`it ended with code ${code}`)));
  }

  /**
   * @throws QuaverError `aborted`, `tokenizer-worker-failed`, and as `FileExamples.open`
   */
  async open(
    files: readonly DataFile[],
    tokenizer: TokenizerFiles,
    endToken: number | undefined,
    { signal, onProgress }: IndexOptions = {},
  ): Promise<ExampleSource> {
    const { id, result } = this.#ask({ kind: 'open', files, tokenizer, endToken }, onProgress);
    const { columns, digest } = (await untilAborted(result, signal)) as OpenedFiles;
    const index = ExampleIndex.from(columns);
    return {
      count: index.count,
      digest,
      ahead,
      bytes: (example) => index.at(example).length,
      place: (example) => index.place(example),
      read: (examples) => this.#ask({ kind: 'read', source: id, examples }).result as Promise<TokenizedExample[]>,
      close: () => this.close(),
    };
  }

  /** Ends the thread; what it was asked for fails. */
  async close(): Promise<void> {
    this.#end(new QuaverError('aborted', 'the dataset was closed'));
    await this.#worker.terminate();
  }

  #ask(order: OrderWithoutId, onProgress?: Waiting['onProgress']): { id: number; result: Promise<unknown> } {
    const id = ++this.#lastId;
    const result = new Promise<unknown>((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#waiting.set(id, { resolve, reject, onProgress });
      this.#worker.ref();
      this.#worker.postMessage({ ...order, id });
    });
    return { id, result };
  }

  #hear(news: News): void {
    const waiting = this.#waiting.get(news.id);
    if (!waiting) return;
    if (news.kind === 'progress') {
      try {
        waiting.onProgress?.(news.progress);
      } catch (error) {
        waiting.reject(error);
      }
      return;
    }
    this.#waiting.delete(news.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (news.kind === 'done') waiting.resolve(news.result);
    else waiting.reject(revive(news.error));
  }

  /** The first reason is the one that counts. */
  #end(reason: QuaverError): void {
    this.#ended ??= reason;
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}

function revive({ code, message, hint, where }: ErrorData): QuaverError {
  if (code === undefined) return workerFailed(message);
  return new QuaverError(code, message, { ...(hint !== undefined && { hint }), ...(where && { where }) });
}

function workerFailed(reason: string, cause?: unknown): QuaverError {
  return new QuaverError('tokenizer-worker-failed', `the thread that tokenizes the data failed: ${reason}`, {
    hint: 'It may have run out of memory. Resume the run; worker: false tokenizes in the main thread.',
    ...(cause !== undefined && { cause }),
  });
}
