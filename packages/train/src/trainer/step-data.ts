import type { Batch } from '../data/batch.ts';
import type { TrainingBatch } from '../data/dataset.ts';

/** What one step trains on. */
export interface StepBatches {
  /** Micro-batches; the last step of the data may have fewer of them. */
  readonly taken: readonly Batch[];
  /** Where the next step begins. */
  readonly cursor: TrainingBatch['cursor'];
}

/** The batches of a dataset, as many together as a step takes; the next ones can be seen before they are taken. */
export class StepData {
  readonly #batches: AsyncGenerator<TrainingBatch, void, undefined>;
  readonly #count: number;
  /** Read and not taken. */
  #waiting: StepBatches | undefined;

  constructor(batches: AsyncGenerator<TrainingBatch, void, undefined>, count: number) {
    this.#batches = batches;
    this.#count = count;
  }

  /** Undefined at the end of the data. @throws what the batches throw */
  async peek(): Promise<StepBatches | undefined> {
    this.#waiting ??= await this.#read();
    return this.#waiting;
  }

  /** As `peek`; the batches after them come next. */
  async next(): Promise<StepBatches | undefined> {
    const next = await this.peek();
    this.#waiting = undefined;
    return next;
  }

  async close(): Promise<void> {
    await this.#batches.return();
  }

  async #read(): Promise<StepBatches | undefined> {
    const taken: TrainingBatch[] = [];
    while (taken.length < this.#count) {
      const next = await this.#batches.next();
      if (next.done) break;
      taken.push(next.value);
    }
    const last = taken.at(-1);
    return last && { taken: taken.map(({ batch }) => batch), cursor: last.cursor };
  }
}
