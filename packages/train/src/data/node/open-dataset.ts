import { realpath } from 'node:fs/promises';
import { extname } from 'node:path';
import { QuaverError } from '@quaver/numerics';
import { Dataset } from '../dataset.ts';
import { badOption, type DatasetOptions, resolveOptions } from '../dataset-options.ts';
import { ExampleEncoder } from '../encode-example.ts';
import type { ExampleSource } from '../example-source.ts';
import type { DataFile } from './data-file.ts';
import { FileExamples, type IndexOptions, type IndexProgress } from './file-examples.ts';
import { TokenizerWorker } from './worker-source.ts';

export interface OpenDatasetOptions extends DatasetOptions {
  /** Paths; their examples together are the data. They must not change while the dataset is open. */
  readonly files: string | readonly string[];
  /** Default by extension: `.jsonl`, `.ndjson` and `.json` are JSONL, others text. */
  readonly format?: 'jsonl' | 'text';
  /** Text: stands between documents, for example `\n\n` or `<|endoftext|>`. Default: each file is one document. */
  readonly separator?: string;
  /**
   * Text: longer documents are tokenized in parts of so many bytes, which end with a line or a word. Parts are shuffled,
   * and so is what is cut out of each. Default 16·T.
   */
  readonly passageBytes?: number;
  /** Files of their own, or a fraction of the examples that the seed chooses. Default: none. */
  readonly validation?: { readonly file: string | readonly string[] } | { readonly fraction: number };
  /** Tokenize in a thread of its own (default), or in this one. Both give the same batches. */
  readonly worker?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: IndexProgress) => void;
}

/**
 * Training data in files. All of it is read once now, to find the examples, to check them, and for the digest; never is more than
 * a piece in memory. Tokenizing happens while batches are read. Close the dataset to end its thread.
 *
 * JSONL has an example on each line: `{"text"}`, all of it predicted; `{"prompt", "completion"}`, the completion
 * predicted; or `{"messages": [{"role", "content"}]}`, rendered with the tokenizer's chat template, the assistant's answers
 * predicted with the token that ends them.
 * @throws QuaverError `data-empty`, `data-malformed-json`, `data-missing-field`, `data-bad-field`, `data-bad-utf8`,
 * `data-line-too-long`, `dataset-option`, `validation-split-impossible`, `validation-not-disjoint`, `file-not-found` and other
 * `file-…`, `aborted`, `tokenizer-worker-failed`
 */
export async function openDataset(options: OpenDatasetOptions): Promise<Dataset> {
  const { tokenizer, endToken, rowTokens } = resolveOptions(options);
  const { validation, signal, onProgress } = options;
  const passageBytes = options.passageBytes ?? 16 * rowTokens;
  if (!Number.isSafeInteger(passageBytes) || passageBytes < 16 || passageBytes > 2 ** 26) {
    throw badOption('passageBytes', passageBytes, 'an integer from 16 to 67108864');
  }
  const describe = (files: string | readonly string[]) => dataFiles([files].flat(), { ...options, passageBytes });
  const training = describe(options.files);
  const held = validation && 'file' in validation ? describe(validation.file) : undefined;
  await checkDisjoint(training, held ?? []);

  const worker = options.worker === false ? undefined : new TokenizerWorker();
  const opened: ExampleSource[] = [];
  const open = async (files: readonly DataFile[]): Promise<ExampleSource> => {
    const hooks: IndexOptions = { signal, onProgress };
    const source = worker
      ? await worker.open(files, tokenizer.files, endToken, hooks)
      : (await FileExamples.open(files, new ExampleEncoder(tokenizer, endToken), hooks)).asSource();
    opened.push(source);
    return source;
  };
  try {
    const source = await open(training);
    return await Dataset.fromSource(source, options, {
      ...(held && { source: await open(held) }),
      ...(validation && 'fraction' in validation && { fraction: validation.fraction }),
    });
  } catch (error) {
    await worker?.close();
    for (const source of opened) await source.close();
    throw error;
  }
}

function dataFiles(paths: readonly string[], options: OpenDatasetOptions & { passageBytes: number }): DataFile[] {
  const { separator, passageBytes } = options;
  if (paths.length === 0) throw badOption('files', '[]', 'at least one path');
  if (separator === '') throw badOption('separator', "''", 'a text, or none');
  return paths.map((path) => ({
    path,
    format: options.format ?? (/^\.(jsonl|ndjson|json)$/i.test(extname(path)) ? 'jsonl' : 'text'),
    ...(separator !== undefined && { separator }),
    passageBytes,
  }));
}

/** @throws QuaverError `validation-not-disjoint` */
async function checkDisjoint(training: readonly DataFile[], validation: readonly DataFile[]): Promise<void> {
  // A path that does not exist is reported by whoever opens it.
  const real = (path: string) => realpath(path).catch(() => path);
  const known = new Set(await Promise.all(training.map(({ path }) => real(path))));
  for (const { path } of validation) {
    if (!known.has(await real(path))) continue;
    throw new QuaverError('validation-not-disjoint', `${path}: is for training and for validation`, {
      where: { file: path },
      hint: 'Give another file, or the fraction of the examples to hold back.',
    });
  }
}
