/** @file Rows, epoch after epoch, with a state that can be written down between any two of them. */

import { QuaverError, uniform } from '@quaver/numerics';
import { type DataCursor, invalidCursor } from './cursor.ts';
import { type CutExample, cutSegments, type Segment } from './cut-segments.ts';
import type { ResolvedDatasetOptions } from './dataset-options.ts';
import { shuffledOrder, streams } from './epoch-order.ts';
import type { TokenizedExample } from './example.ts';
import type { ExampleSource } from './example-source.ts';
import { type PackedRow, Packer } from './packer.ts';
import { type Position, readAhead } from './read-ahead.ts';

/** The examples of a source that belong to training, or to validation. */
export interface Portion {
  readonly source: ExampleSource;
  /** All, when missing. */
  readonly examples?: Uint32Array;
}

export const portionSize = ({ source, examples }: Portion): number => examples?.length ?? source.count;

export interface RowStreamOptions {
  readonly portion: Portion;
  readonly options: ResolvedDatasetOptions;
  /** Otherwise examples and rows come in the order of the source. */
  readonly shuffle: boolean;
  /** Passes over the examples; may be Infinity. */
  readonly epochs: number;
  readonly signal: AbortSignal | undefined;
  readonly onExample?: (outcome: CutExample['outcome']) => void;
}

type State = Pick<DataCursor, 'epoch' | 'next' | 'segment' | 'emitted' | 'open' | 'pool'>;

export class RowStream {
  readonly #stream: RowStreamOptions;
  #epoch = 0;
  #next = 0;
  #segment = 0;
  #packer: Packer;

  constructor(stream: RowStreamOptions) {
    this.#stream = stream;
    this.#packer = this.#newPacker();
  }

  /** Where the stream stands after the row that it gave last. */
  get state(): State {
    const { open, pool } = this.#packer.waiting;
    const numbers = (rows: readonly PackedRow[]) =>
      rows.map((row) => row.map(({ example, index }): [number, number] => [example, index]));
    return {
      epoch: this.#epoch,
      next: this.#next,
      segment: this.#segment,
      emitted: this.#packer.emitted,
      open: numbers(open),
      pool: numbers(pool),
    };
  }

  /**
   * Goes on where `state` was taken; before the first row.
   * @throws QuaverError `cursor-invalid`, and what the source throws
   */
  async restore(state: State): Promise<void> {
    if (state.next > portionSize(this.#stream.portion)) throw invalidCursor(`there is no example ${state.next}`);
    [this.#epoch, this.#next, this.#segment] = [state.epoch, state.next, state.segment];
    this.#packer = this.#newPacker();
    const { source, examples } = this.#stream.portion;
    const wanted = [...new Set([...state.open, ...state.pool].flat().map(([example]) => example))];
    const known = examples ? new Set(examples) : undefined;
    const foreign = wanted.find((example) => example >= source.count || known?.has(example) === false);
    if (foreign !== undefined) throw invalidCursor(`example ${foreign} is not one to train on`);
    const cut = new Map<number, readonly Segment[]>();
    for (const example of wanted) {
      const [tokenized] = await source.read([example]);
      cut.set(example, this.#cut(tokenized!, example).segments);
    }
    const rows = (numbers: State['open']): PackedRow[] =>
      numbers.map((row) =>
        row.map(([example, index]) => {
          const segment = cut.get(example)![index];
          if (!segment) throw invalidCursor(`example ${example} has no segment ${index}`);
          return segment;
        }),
      );
    if (!this.#packer.restore({ open: rows(state.open), pool: rows(state.pool) }, state.emitted)) {
      throw invalidCursor('its rows hold more than a row takes');
    }
  }

  /** @throws QuaverError `data-nothing-to-train`, `data-too-long`, `aborted`, and what the source throws */
  async *rows(): AsyncGenerator<PackedRow, void, undefined> {
    const { portion, signal } = this.#stream;
    for await (const { index, example, tokenized } of readAhead(portion.source, this.#positions(), signal)) {
      if (example !== undefined) yield* this.#take(index, example, tokenized!);
      else yield* this.#endEpoch();
    }
  }

  async *#positions(): AsyncGenerator<Position, void, undefined> {
    const { portion, options, shuffle, epochs, signal } = this.#stream;
    const size = portionSize(portion);
    for (let epoch = this.#epoch, index = this.#next; epoch < epochs; epoch++, index = 0) {
      const order = shuffle ? await shuffledOrder(size, options.seed, streams.order(epoch), signal) : undefined;
      for (; index < size; index++) {
        const place = order?.[index] ?? index;
        yield { epoch, index, example: portion.examples?.[place] ?? place };
      }
      yield { epoch, index };
    }
  }

  *#take(index: number, example: number, tokenized: TokenizedExample): Generator<PackedRow, void, undefined> {
    const { segments, outcome } = this.#cut(tokenized, example);
    if (this.#segment === 0) this.#stream.onExample?.(outcome);
    for (let at = this.#segment; at < segments.length; at++) {
      const row = this.#packer.push(segments[at]!);
      const last = at + 1 === segments.length;
      [this.#next, this.#segment] = last ? [index + 1, 0] : [index, at + 1];
      if (row) yield row;
    }
    [this.#next, this.#segment] = [index + 1, 0];
  }

  *#endEpoch(): Generator<PackedRow, void, undefined> {
    yield* this.#packer.drain();
    if (this.#packer.emitted === 0) throw nothingToTrain(this.#stream.portion);
    [this.#epoch, this.#next, this.#segment] = [this.#epoch + 1, 0, 0];
    this.#packer = this.#newPacker();
  }

  #cut(tokenized: TokenizedExample, example: number): CutExample {
    const { rowTokens, tooLong } = this.#stream.options;
    const place = this.#stream.portion.source.place(example);
    return cutSegments(tokenized, example, { rowTokens, tooLong, place });
  }

  #newPacker(): Packer {
    const { options, shuffle } = this.#stream;
    const stream = streams.rows(this.#epoch);
    return new Packer({
      ...options,
      poolRows: shuffle ? options.poolRows : 0,
      draw: (index) => uniform(options.seed, stream, index),
    });
  }
}

function nothingToTrain(portion: Portion): QuaverError {
  return new QuaverError(
    'data-nothing-to-train',
    `none of ${portionSize(portion)} examples of the data has a token to predict in a row`,
    { hint: 'Take longer rows, or other data.' },
  );
}
