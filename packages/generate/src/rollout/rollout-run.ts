import { throwIfAborted } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import type { RunCounters } from './metrics.ts';
import type { ReadNext } from './paged-calls.ts';
import { type RequestContext, RequestGroup } from './request-group.ts';
import type { RequestSource } from './request-source.ts';
import type { Scheduler } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import type { RolloutEvent, RolloutRequest } from './types.ts';

/** What a run needs of a model with a paged cache. */
export interface RolloutModel {
  /**
   * Computes up to `tokens` pending tokens of each sequence into its pages. `read` gets what follows those that have none pending
   * then.
   */
  prefill(
    sequences: readonly Sequence[],
    tokens: number,
    signal: AbortSignal | undefined,
    read: ReadNext,
  ): Promise<void>;
  /** Computes the one pending token of each sequence into its pages. */
  decode(sequences: readonly Sequence[], signal: AbortSignal | undefined, read: ReadNext): Promise<void>;
  /** Goes on after a call threw, with an empty cache. */
  recover(error: unknown): Promise<void>;
  /** Goes on with an empty cache. */
  forget(): void;
}

export interface RolloutRunParts {
  readonly source: RequestSource;
  readonly scheduler: Scheduler;
  readonly model: RolloutModel;
  readonly counters: RunCounters;
  readonly context: RequestContext;
  readonly maxSequences: number;
  readonly signal: AbortSignal | undefined;
  /** Told of everything that happens; `order` counts continuations as they were asked for. */
  readonly sink: (event: RolloutEvent, order: number) => void;
}

/** One run of an engine, step by step. */
export class RolloutRun {
  readonly #parts: RolloutRunParts;
  #order = 0;
  /** Sequences that ended in the present call. */
  readonly #ended: Sequence[] = [];

  constructor(parts: RolloutRunParts) {
    this.#parts = parts;
  }

  /**
   * Takes requests, starts sequences, and gives every one that can go on a token; prompts a part of them. False when all is done.
   * @throws QuaverError `aborted`, `rollout-executor-failed`, and what requests and `reopen` throw
   */
  async step(): Promise<boolean> {
    const { source, scheduler, signal } = this.#parts;
    throwIfAborted(signal);
    this.#take();
    if (scheduler.live === 0) {
      if (source.ended) return false;
      await source.wait(signal);
      return true;
    }
    scheduler.admit();
    await this.#orRecover(() => this.#prefill());
    await this.#orRecover(() => this.#decode());
    return true;
  }

  /** Takes requests that are there while there is room. */
  #take(): void {
    const { source, scheduler, maxSequences } = this.#parts;
    // Requests that fail take no room: they must not be taken for ever.
    for (let taken = 0; taken < maxSequences && scheduler.live < maxSequences; taken++) {
      const request = source.poll();
      if (!request) return;
      this.#add(request);
    }
  }

  #add(request: RolloutRequest): void {
    const { scheduler, context, counters, sink } = this.#parts;
    counters.requests++;
    const first = this.#order;
    try {
      const group = new RequestGroup(request, context, first, performance.now());
      this.#order += group.sequences.length;
      scheduler.add(group);
      this.#ended.push(...group.sequences.filter(({ ended }) => ended));
      this.#endSequences();
    } catch (error) {
      if (!(error instanceof QuaverError)) throw error;
      this.#order = first + 1;
      counters.failures++;
      sink({ type: 'error', id: request.id, sample: 0, error }, first);
    }
  }

  async #prefill(): Promise<void> {
    const { scheduler, model, signal, counters } = this.#parts;
    const plan = scheduler.planPrefill();
    if (!plan) return;
    const { sequences, tokens } = plan;
    const counts = sequences.map(({ pending }) => Math.min(pending, tokens));
    const start = performance.now();
    await model.prefill(sequences, tokens, signal, (logits, logprobs, row) => {
      this.#draw(sequences[row]!, logits, logprobs);
    });
    counters.prefillSeconds += (performance.now() - start) / 1000;
    counters.prefillCalls++;
    for (const [row, sequence] of sequences.entries()) {
      const count = counts[row]!;
      counters.promptTokens += count;
      counters.recomputedTokens += Math.min(count, Math.max(0, sequence.lost - sequence.computed));
      scheduler.computed(sequence, count);
    }
    this.#endSequences();
  }

  async #decode(): Promise<void> {
    const { scheduler, model, signal, counters } = this.#parts;
    const sequences = scheduler.planDecode();
    if (sequences.length === 0) return;
    await model.decode(sequences, signal, (logits, logprobs, row) => {
      this.#draw(sequences[row]!, logits, logprobs);
    });
    counters.decodeCalls++;
    counters.decodedRows += sequences.length;
    for (const sequence of sequences) scheduler.computed(sequence, 1);
    this.#endSequences();
  }

  /** The next token of a sequence; after the prompt, which samples have in common, that of every sample. */
  #draw(sequence: Sequence, logits: Float32Array, logprobs: Float32Array): void {
    const { group } = sequence;
    const drawing = group.drawn ? [sequence] : group.sequences;
    group.drawn = true;
    for (const each of drawing) this.#accept(each, logits, logprobs);
  }

  #accept(sequence: Sequence, logits: Float32Array, logprobs: Float32Array): void {
    const { counters, sink } = this.#parts;
    const now = performance.now();
    const before = sequence.generated === 0 ? undefined : sequence.lastTokenTime;
    const event = sequence.accept(logits, logprobs, now);
    if (event) {
      counters.generatedTokens++;
      if (before === undefined) counters.firstToken.add((now - sequence.group.arrival) / 1000);
      else counters.betweenTokens.add((now - before) / 1000);
      sink(event, sequence.order);
    }
    if (sequence.ended) this.#ended.push(sequence);
  }

  #endSequences(): void {
    const { scheduler, counters, sink } = this.#parts;
    for (const sequence of this.#ended) {
      const { error, group, sample, order } = sequence;
      scheduler.end(sequence);
      if (error) {
        counters.failures++;
        sink({ type: 'error', id: group.id, sample, error }, order);
      } else {
        counters.sequences++;
        sink({ type: 'end', ...sequence.result(performance.now()) }, order);
      }
    }
    if (this.#ended.some(({ error }) => error)) this.#startAnew();
    this.#ended.length = 0;
  }

  /**
   * Pages of a sequence without finite logits may hold NaN. Where attention gives keys that it does not see a weight of zero, as
   * its definition does, the next user of such a page would have NaN from it.
   */
  #startAnew(): void {
    this.#parts.scheduler.restart();
    this.#parts.model.forget();
  }

  /** A failure of the executor takes the cache with it: all sequences are computed again, and go on where they were. */
  async #orRecover(work: () => Promise<void>): Promise<void> {
    const { scheduler, model, signal, counters } = this.#parts;
    try {
      await work();
    } catch (error) {
      throwIfAborted(signal);
      this.#endSequences();
      scheduler.restart();
      await model.recover(error);
      counters.reopened++;
    }
  }
}
