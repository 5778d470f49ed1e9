import { LatencyHistogram } from './latency.ts';

/** What a run did; times are wall-clock. */
export interface RolloutMetrics {
  readonly seconds: number;
  readonly requests: number;
  /** Continuations that ended, and those that failed. */
  readonly sequences: number;
  readonly failures: number;
  /** Tokens that went through `prefill`, and those of them that had been computed before. */
  readonly promptTokens: number;
  readonly recomputedTokens: number;
  /** Prompt tokens that samples took from the pages of another sample. */
  readonly sharedTokens: number;
  readonly generatedTokens: number;
  /** Of the time in `prefill`. */
  readonly promptTokensPerSecond: number;
  /** Of the whole run. */
  readonly generatedTokensPerSecond: number;
  readonly prefillCalls: number;
  readonly decodeCalls: number;
  /** Sequences per call of `decode`, padding not counted. */
  readonly meanBatch: number;
  /** From when a request was taken; 1.1 % exact. */
  readonly firstTokenSeconds: Percentiles;
  readonly betweenTokensSeconds: Percentiles;
  readonly preemptions: number;
  readonly reopened: number;
  /** Pages of the cache, and the most that were used at once. */
  readonly pages: number;
  readonly mostPagesUsed: number;
}

export interface Percentiles {
  readonly p50: number;
  readonly p95: number;
}

/** Counts while a run goes on. */
export class RunCounters {
  requests = 0;
  sequences = 0;
  failures = 0;
  promptTokens = 0;
  recomputedTokens = 0;
  generatedTokens = 0;
  prefillCalls = 0;
  prefillSeconds = 0;
  decodeCalls = 0;
  decodedRows = 0;
  reopened = 0;
  readonly firstToken: LatencyHistogram = new LatencyHistogram();
  readonly betweenTokens: LatencyHistogram = new LatencyHistogram();
  readonly #start = performance.now();
  #end: number | undefined;

  stop(): void {
    this.#end = performance.now();
  }

  metrics(rest: Pick<RolloutMetrics, 'sharedTokens' | 'preemptions' | 'pages' | 'mostPagesUsed'>): RolloutMetrics {
    const seconds = ((this.#end ?? performance.now()) - this.#start) / 1000;
    const { requests, sequences, failures, promptTokens, recomputedTokens, generatedTokens } = this;
    const { prefillCalls, decodeCalls, reopened } = this;
    return {
      seconds,
      requests,
      sequences,
      failures,
      promptTokens,
      recomputedTokens,
      generatedTokens,
      promptTokensPerSecond: ratio(promptTokens, this.prefillSeconds),
      generatedTokensPerSecond: ratio(generatedTokens, seconds),
      prefillCalls,
      decodeCalls,
      meanBatch: ratio(this.decodedRows, decodeCalls),
      firstTokenSeconds: percentiles(this.firstToken),
      betweenTokensSeconds: percentiles(this.betweenTokens),
      reopened,
      ...rest,
    };
  }
}

function ratio(count: number, of: number): number {
  return of > 0 ? count / of : 0;
}

function percentiles(histogram: LatencyHistogram): Percentiles {
  return { p50: histogram.quantile(0.5), p95: histogram.quantile(0.95) };
}
