/** @file What the tokenizing thread runs: it reads the files, finds the examples in them, and turns them into tokens. */
import { parentPort } from 'node:worker_threads';
// Not all of the package: the thread starts sooner.
import { Tokenizer, type TokenizerFiles } from '@quaver/generate/tokenizer';
import { QuaverError } from '@quaver/numerics';
import { ExampleEncoder } from '../encode-example.ts';
import type { TokenizedExample } from '../example.ts';
import type { DataFile } from './data-file.ts';
import type { IndexColumns } from './example-index.ts';
import { FileExamples, type IndexProgress } from './file-examples.ts';

export type Order =
  | {
      readonly kind: 'open';
      readonly id: number;
      readonly files: readonly DataFile[];
      readonly tokenizer: TokenizerFiles;
      readonly endToken: number | undefined;
    }
  /** `source` is the id of the order that opened the files. */
  | { readonly kind: 'read'; readonly id: number; readonly source: number; readonly examples: readonly number[] };

export type News =
  | { readonly kind: 'progress'; readonly id: number; readonly progress: IndexProgress }
  | { readonly kind: 'done'; readonly id: number; readonly result: OpenedFiles | readonly TokenizedExample[] }
  | { readonly kind: 'failed'; readonly id: number; readonly error: ErrorData };

export interface OpenedFiles {
  readonly columns: IndexColumns;
  readonly digest: string;
}

/** An error in a form that arrives in another thread with all that it says. */
export interface ErrorData {
  /** Missing: an error that nobody foresaw. */
  readonly code?: string;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly where?: QuaverError['where'];
}

const port = parentPort!;
const sources = new Map<number, Promise<FileExamples>>();

port.on('message', async (order: Order) => {
  const { id } = order;
  try {
    const result =
      order.kind === 'open' ? await open(order) : await (await sources.get(order.source)!).read(order.examples);
    const transfer = 'columns' in result ? [] : result.flatMap(({ tokens, loss }) => [tokens.buffer, loss.buffer]);
    port.postMessage({ kind: 'done', id, result } satisfies News, transfer as ArrayBuffer[]);
  } catch (error) {
    port.postMessage({ kind: 'failed', id, error: errorData(error) } satisfies News);
  }
});

async function open({ id, files, tokenizer, endToken }: Order & { kind: 'open' }): Promise<OpenedFiles> {
  const onProgress = (progress: IndexProgress) => port.postMessage({ kind: 'progress', id, progress } satisfies News);
  const { tokenizer: vocabulary, config, chatTemplate } = tokenizer;
  const encoder = new ExampleEncoder(new Tokenizer(vocabulary, config, chatTemplate), endToken);
  const opened = FileExamples.open(files, encoder, { onProgress });
  sources.set(id, opened);
  const { index, digest } = await opened;
  return { columns: index.columns, digest };
}

function errorData(error: unknown): ErrorData {
  if (!(error instanceof QuaverError)) return { message: String(error) };
  const { code, message, hint, where } = error;
  return { code, message, hint, where };
}
