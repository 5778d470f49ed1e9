import type { Session } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { modelLimits } from '../model-limits.ts';
import { type RolloutMetrics, RunCounters } from './metrics.ts';
import { PagePool } from './page-pool.ts';
import { pageTokensOf } from './paged-calls.ts';
import { PagedModel } from './paged-model.ts';
import type { RequestContext } from './request-group.ts';
import { RequestSource } from './request-source.ts';
import { RolloutRun } from './rollout-run.ts';
import { Scheduler, type SchedulerLimits } from './scheduler.ts';
import type { RolloutEvent, RolloutOptions, RolloutOutcome, RolloutRequest, RunRolloutOptions } from './types.ts';

type Requests = Iterable<RolloutRequest> | AsyncIterable<RolloutRequest>;

/**
 * Continues many prompts at once on one session: sequences join and leave the batch between steps, and share the pages of one KV
 * cache. On an executor that promises row invariance, tokens and log-probability bits of a sequence do not depend on what else
 * runs.
 */
export class RolloutEngine implements Disposable {
  readonly #context: RequestContext;
  readonly #limits: SchedulerLimits;
  readonly #pages: number;
  readonly #model: PagedModel;
  /** Of the run that goes on, or of the last one. */
  #counters = new RunCounters();
  #scheduler: Scheduler;
  #busy = false;

  private constructor(session: Session, options: RolloutOptions) {
    const { maxSequences = 64, cacheTokens = 65536, prefillTokens = 512, seed = 0, tokenizer, reopen } = options;
    for (const [name, value] of Object.entries({ maxSequences, cacheTokens, prefillTokens })) check(name, value, 1);
    check('seed', seed, 0);
    const pageTokens = pageTokensOf(session.module);
    const limits = modelLimits(session.module);
    this.#pages = Math.ceil(cacheTokens / pageTokens);
    this.#context = { limits, capacity: Math.min(limits.context, this.#pages * pageTokens), seed, tokenizer };
    this.#limits = { maxSequences, pageTokens, prefillTokens, context: limits.context };
    const maxPages = Math.ceil(this.#context.capacity / pageTokens);
    this.#model = new PagedModel(session, { maxSequences, prefillTokens, maxPages, pages: this.#pages, reopen });
    this.#scheduler = this.#emptyScheduler();
  }

  /**
   * Allocates the KV cache.
   * @param session of a module with a paged KV cache, with the functions `prefill` and `decode` open; it stays the caller's
   * @throws QuaverError `module-not-paged`, `module-not-a-language-model`, `rollout-option`, and what `createState` throws
   */
  static async open(session: Session, options: RolloutOptions = {}): Promise<RolloutEngine> {
    const engine = new RolloutEngine(session, options);
    engine.#model.allocate();
    return engine;
  }

  /** Of the run so far, or of the last one. */
  get metrics(): RolloutMetrics {
    const { savedTokens, preemptions, pool } = this.#scheduler;
    return this.#counters.metrics({
      sharedTokens: savedTokens,
      preemptions,
      pages: pool.size,
      mostPagesUsed: pool.mostUsed,
    });
  }

  /** Most tokens of a prompt and its continuation: the positions of the model, or what the cache holds. */
  get capacity(): number {
    return this.#context.capacity;
  }

  /** Pages of the cache that somebody uses; none between runs. */
  get usedPages(): number {
    return this.#scheduler.pool.used;
  }

  /**
   * Continues prompts, event by event: `token` for every token, then `end` or `error` for every continuation. A request that
   * cannot be met gives one `error`. Requests are taken one at a time, when there is room for them; `break` frees all pages.
   * @throws QuaverError `rollout-busy`, `rollout-closed`, `aborted`, `rollout-executor-failed`, and what `requests` and `reopen` throw
   */
  async *run(requests: Requests, options: RunRolloutOptions = {}): AsyncGenerator<RolloutEvent, void, undefined> {
    let events: RolloutEvent[] = [];
    for await (const _ of this.#steps(requests, options, (event) => void events.push(event))) {
      const happened = events;
      events = [];
      yield* happened;
    }
    yield* events;
  }

  /**
   * What became of every continuation: in the order in which requests were given, and by sample within each.
   * @throws what `run` throws
   */
  async generate(requests: Requests, options: RunRolloutOptions = {}): Promise<RolloutOutcome[]> {
    const outcomes: RolloutOutcome[] = [];
    const sink = (event: RolloutEvent, order: number) => {
      if (event.type === 'token') return;
      const { type: _, ...outcome } = event;
      outcomes[order] = outcome;
    };
    for await (const _ of this.#steps(requests, options, sink));
    return outcomes;
  }

  /**
   * Says that parameters of the session were written: nothing that old weights computed is used again.
   * @throws QuaverError `rollout-busy` while a run goes on
   */
  weightsChanged(): void {
    this.#assertIdle();
    this.#model.forget();
  }

  /** Gives the KV cache back; the engine cannot be used any more, and a run that goes on ends with `rollout-closed`. */
  dispose(): void {
    this.#model.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Runs; gives control back after every step. */
  async *#steps(
    requests: Requests,
    { signal }: RunRolloutOptions,
    sink: (event: RolloutEvent, order: number) => void,
  ): AsyncGenerator<void, void, undefined> {
    this.#assertIdle();
    this.#busy = true;
    this.#counters = new RunCounters();
    this.#scheduler = this.#emptyScheduler();
    const source = new RequestSource(requests);
    const run = new RolloutRun({
      source,
      scheduler: this.#scheduler,
      model: this.#model,
      counters: this.#counters,
      context: this.#context,
      maxSequences: this.#limits.maxSequences,
      signal,
      sink,
    });
    let complete = false;
    try {
      while (await run.step()) yield;
      complete = true;
    } finally {
      // What a call that was stopped has left in the cache is undefined.
      if (!complete) this.#model.forget();
      this.#scheduler.clear();
      this.#counters.stop();
      source.close();
      this.#busy = false;
    }
  }

  #emptyScheduler(): Scheduler {
    return new Scheduler(new PagePool(this.#pages), this.#limits);
  }

  #assertIdle(): void {
    if (!this.#busy) return;
    throw new QuaverError('rollout-busy', 'a run of this engine is going on', {
      hint: 'Wait for its end, or stop it: an engine runs one at a time.',
    });
  }
}

function check(option: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new QuaverError('rollout-option', `${option} is ${value}, expected an integer of at least ${least}`, {
    where: { option },
  });
}
