import { QuaverError } from '@quaver/numerics';
import { type Batch, buildBatch } from './batch.ts';
import { checkCursor, type DataCursor } from './cursor.ts';
import { badOption, type DatasetOptions, type ResolvedDatasetOptions, resolveOptions } from './dataset-options.ts';
import { splitExamples } from './epoch-order.ts';
import type { Example } from './example.ts';
import { type ExampleSource, memoryExamples } from './example-source.ts';
import { type Portion, portionSize, RowStream } from './row-stream.ts';
import { sha256 } from './sha256.ts';

export interface DatasetStatistics {
  readonly trainingExamples: number;
  readonly validationExamples: number;
  /** Training examples read so far, those of earlier epochs included. */
  readonly read: number;
  /** Of these, the ones that were too long and lost their end. */
  readonly truncated: number;
  /** Of these, the ones left out: too long, or nothing to predict. */
  readonly skipped: number;
}

export interface TrainingBatch {
  readonly batch: Batch;
  /** Where the next batch begins; its `epoch` counts passes over the examples. */
  readonly cursor: DataCursor;
}

export interface BatchesOptions {
  /** Goes on after the batch that came with it; default the beginning. */
  readonly cursor?: DataCursor;
  /** Passes over the examples since the beginning; default without end. */
  readonly epochs?: number;
  readonly signal?: AbortSignal;
}

/** Examples as packed, shuffled batches, and a part held back for validation. */
export class Dataset {
  readonly #options: ResolvedDatasetOptions;
  readonly #training: Portion;
  readonly #validation: Portion | undefined;
  readonly #settings: DataCursor['settings'];
  readonly #counts = { read: 0, truncated: 0, skipped: 0 };
  /** SHA-256 over the data, training and validation. */
  readonly digest: string;

  private constructor(
    parts: { readonly training: Portion; readonly validation: Portion | undefined; readonly digest: string },
    options: ResolvedDatasetOptions,
    settings: DataCursor['settings'],
  ) {
    this.#options = options;
    this.#training = parts.training;
    this.#validation = parts.validation;
    this.digest = parts.digest;
    this.#settings = settings;
  }

  /**
   * Examples in memory, tokenized in this thread when they are needed.
   * @param options `validation`: examples of their own, or a fraction of all that the seed chooses
   * @throws QuaverError `data-empty`, `data-missing-field`, `data-bad-field`, `validation-split-impossible`, `dataset-option`
   */
  static async fromExamples(
    examples: readonly Example[],
    options: DatasetOptions & {
      readonly validation?: { readonly examples: readonly Example[] } | { readonly fraction: number };
    },
  ): Promise<Dataset> {
    const { tokenizer, endToken } = resolveOptions(options);
    const { validation } = options;
    const source = (of: readonly Example[]) => memoryExamples(of, tokenizer, endToken);
    return Dataset.fromSource(await source(examples), options, {
      ...(validation && 'fraction' in validation && validation),
      ...(validation && 'examples' in validation && { source: await source(validation.examples) }),
    });
  }

  /**
   * Examples from anywhere. The dataset closes the sources.
   * @throws QuaverError `data-empty`, `validation-split-impossible`, `dataset-option`
   */
  static async fromSource(
    source: ExampleSource,
    options: DatasetOptions,
    validation: { readonly source?: ExampleSource; readonly fraction?: number } = {},
  ): Promise<Dataset> {
    const resolved = resolveOptions(options);
    const { fraction } = validation;
    for (const { count } of [source, ...(validation.source ? [validation.source] : [])]) {
      if (count > 0) continue;
      throw new QuaverError('data-empty', `the ${count === source.count ? '' : 'validation '}data holds no example`, {
        hint: 'Give at least one example.',
      });
    }
    let training: Portion = { source };
    let held: Portion | undefined = validation.source && { source: validation.source };
    if (fraction !== undefined) {
      if (!(fraction > 0 && fraction < 1)) throw badOption('validation.fraction', fraction, 'a number between 0 and 1');
      if (source.count < 2) throw cannotSplit();
      const split = await splitExamples(source.count, fraction, resolved.seed);
      training = { source, examples: split.training };
      held = { source, examples: split.validation };
    }
    const { tokenizer, endToken, tooLong, ...numbers } = resolved;
    const settings = {
      ...numbers,
      tooLong,
      endToken: endToken ?? null,
      validationFraction: fraction ?? null,
      tokenizer: await sha256(JSON.stringify(tokenizer.files)),
    };
    const digest = await sha256(JSON.stringify([source.digest, validation.source?.digest ?? null]));
    return new Dataset({ training, validation: held, digest }, resolved, settings);
  }

  get hasValidation(): boolean {
    return this.#validation !== undefined;
  }

  get statistics(): DatasetStatistics {
    return {
      trainingExamples: portionSize(this.#training),
      validationExamples: this.#validation ? portionSize(this.#validation) : 0,
      ...this.#counts,
    };
  }

  /**
   * Batches of B rows, each epoch in an order of its own. An epoch ends before the next begins; a batch may hold rows of both. With
   * `epochs`, the last batch may have fewer rows. The same cursor gives the same batches, bit for bit.
   * @throws QuaverError `cursor-invalid`, `data-changed`, `data-settings-changed`, `data-too-long`, `data-nothing-to-train`,
   * `aborted`, and what is wrong with the data
   */
  async *batches({
    cursor,
    epochs = Number.POSITIVE_INFINITY,
    signal,
  }: BatchesOptions = {}): AsyncGenerator<TrainingBatch, void, undefined> {
    if (!(epochs >= 0)) throw badOption('epochs', epochs, 'a number from 0');
    const stream = new RowStream({
      portion: this.#training,
      options: this.#options,
      shuffle: true,
      epochs,
      signal,
      onExample: (outcome) => {
        this.#counts.read++;
        if (outcome !== 'whole') this.#counts[outcome]++;
      },
    });
    if (cursor !== undefined) await stream.restore(checkCursor(cursor, this.digest, this.#settings));
    for await (const batch of this.#inBatches(stream)) {
      yield { batch, cursor: { version: 1, data: this.digest, settings: this.#settings, ...stream.state } };
    }
  }

  /**
   * Whether a run can go on from a cursor.
   * @throws QuaverError `cursor-invalid`, `data-changed`, `data-settings-changed`
   */
  checkCursor(cursor: unknown): void {
    checkCursor(cursor, this.digest, this.#settings);
  }

  /**
   * The validation examples, once, in the same batches every time; the last one may have fewer rows.
   * @throws QuaverError `validation-missing`, and as `batches`
   */
  async *validation(signal?: AbortSignal): AsyncGenerator<Batch, void, undefined> {
    if (!this.#validation) {
      throw new QuaverError('validation-missing', 'the dataset has no examples for validation', {
        hint: 'Give a validation file, or the fraction of the examples to hold back.',
      });
    }
    const options = { portion: this.#validation, options: this.#options, shuffle: false, epochs: 1, signal };
    yield* this.#inBatches(new RowStream(options));
  }

  /** Ends the worker, if there is one, and closes the files. */
  async close(): Promise<void> {
    await this.#training.source.close();
    if (this.#validation) await this.#validation.source.close();
  }

  async *#inBatches(stream: RowStream): AsyncGenerator<Batch, void, undefined> {
    const { batchRows, rowTokens, align } = this.#options;
    let rows = [];
    for await (const row of stream.rows()) {
      rows.push(row);
      if (rows.length < batchRows) continue;
      yield buildBatch(rows, rowTokens, align);
      rows = [];
    }
    if (rows.length > 0) yield buildBatch(rows, rowTokens, align);
  }
}

function cannotSplit(): QuaverError {
  return new QuaverError(
    'validation-split-impossible',
    'the data has one example only: none of it can be held back for validation',
    {
      hint: 'Give a validation file, or no validation. A short text without a separator is one example.',
    },
  );
}
