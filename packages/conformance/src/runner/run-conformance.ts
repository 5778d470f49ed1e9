/** @file Runs every case on one executor and says how each went. */
import { type ExecutorOptions, type ExecutorPlugin, ExecutorRegistry, throwIfAborted } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { behaviourCases } from '../behaviours/index.ts';
import type { ReadVectorFile } from '../vectors/manifest.ts';
import { vectorCases } from '../vectors/vector-cases.ts';
import type { ConformanceCase, Outcome, Via } from './case.ts';
import { runWithin } from './run-within.ts';
import { SharedExecutor } from './shared-executor.ts';
import { type SkipList, Skips } from './skip-list.ts';

export interface ConformanceOptions {
  /** Reads the files of `vectors/`; `@quaver/conformance/node` has one for the files of this package. */
  readonly vectors: ReadVectorFile;
  /** Only cases whose name contains this. */
  readonly filter?: string;
  /** Cases that are known to fail. They are run too: one that passes is a failure. */
  readonly skipList?: SkipList;
  /** What the plug-in is opened with. */
  readonly open?: ExecutorOptions;
  /** A case that takes longer has failed; default 60 s. After three such cases in a row, or ten in all, the rest fails. */
  readonly caseTimeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ConformanceProgress) => void;
}

export interface ConformanceProgress {
  readonly case: string;
  readonly done: number;
  readonly total: number;
}

export interface CaseReport {
  readonly name: string;
  /** Empty when the case is about no op in particular. */
  readonly op: string;
  readonly dtypes: readonly string[];
  readonly result_dtypes: readonly string[];
  readonly status: 'passed' | 'failed' | 'skipped' | 'unsupported';
  /** What went wrong, why it is skipped, or why `supports` refused. */
  readonly reason?: string;
  /** Largest distance from the expected result, in units in the last place of f32. */
  readonly ulp?: number | undefined;
  /** Who ran the op: the executor's kernel, the op's definition, or for composites their body. */
  readonly via?: Via;
}

/** Field names as in JSON. */
export interface ConformanceReport {
  readonly executor: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly unsupported: number;
  readonly cases: readonly CaseReport[];
}

const defaultCaseTimeoutMs = 60_000;
/** Timers count milliseconds in 31 bits. */
const longestTimeoutMs = 2 ** 31 - 1;

/** After so many cases without a result, in a row or in all, the executor is taken for dead: the rest is not run. */
const mostSilent = { inARow: 3, inAll: 10 };

/**
 * Failures are in the report; only what keeps the cases from running is thrown.
 * @throws QuaverError `executor-plugin-invalid`, `vectors-invalid`, `conformance-filter`, `conformance-timeout`, `aborted`, and what
 *   opening the executor throws
 */
export async function runConformance(plugin: ExecutorPlugin, options: ConformanceOptions): Promise<ConformanceReport> {
  new ExecutorRegistry().register(plugin);
  const { vectors, filter = '', skipList = {}, open = {}, signal = new AbortController().signal } = options;
  throwIfAborted(signal);
  const all = [...(await vectorCases(vectors, signal)), ...behaviourCases];
  const chosen = all.filter(({ name }) => name.includes(filter));
  if (chosen.length === 0) {
    throw new QuaverError('conformance-filter', `no case has '${filter}' in its name`, {
      hint: 'Names begin with the op (scaled_dot/…) or with behaviour/.',
    });
  }
  const skips = new Skips(skipList);
  const reports: CaseReport[] = [];
  const { caseTimeoutMs = defaultCaseTimeoutMs } = options;
  if (!(caseTimeoutMs > 0 && caseTimeoutMs <= longestTimeoutMs)) {
    throw new QuaverError('conformance-timeout', `the time of a case is ${caseTimeoutMs / 1000} s`, {
      hint: `Choose more than 0 and at most ${Math.floor(longestTimeoutMs / 1000)} s.`,
    });
  }
  const silence: Outcome = { status: 'failed', reason: `no result within ${caseTimeoutMs / 1000} s` };
  const silent = { inARow: 0, inAll: 0 };
  const shared = new SharedExecutor(plugin, { signal, ...open });
  await firstOpening(shared, plugin.id, caseTimeoutMs);
  await using _ = { [Symbol.asyncDispose]: () => shared.close(caseTimeoutMs) };
  for (const [done, item] of chosen.entries()) {
    throwIfAborted(signal);
    options.onProgress?.({ case: item.name, done, total: chosen.length });
    if (silent.inARow === mostSilent.inARow || silent.inAll === mostSilent.inAll) {
      const reason = `not run: ${silent.inAll} cases before gave no result in time`;
      reports.push(report(item, { status: 'failed', reason }, skips.reasonFor(item.name)));
      continue;
    }
    const run = async () => item.run({ plugin, options: open, executor: await shared.get(), signal });
    const outcome = await runWithin(run, signal, caseTimeoutMs, silence);
    const skipReason = skips.reasonFor(item.name);
    // What the skip list knows of says nothing about the rest.
    if (skipReason === undefined) {
      silent.inARow = outcome === silence ? silent.inARow + 1 : 0;
      if (outcome === silence) silent.inAll++;
    }
    // A failure may have left the executor in any state; the next case must not suffer from it.
    if (outcome.status === 'failed') shared.replace();
    throwIfAborted(signal);
    reports.push(report(item, outcome, skipReason));
  }
  options.onProgress?.({ case: '', done: chosen.length, total: chosen.length });
  if (filter === '') reports.push(...skips.unused.map(unusedPattern));
  const count = (status: CaseReport['status']) => reports.filter((item) => item.status === status).length;
  return {
    executor: plugin.id,
    passed: count('passed'),
    failed: count('failed'),
    skipped: count('skipped'),
    unsupported: count('unsupported'),
    cases: reports,
  };
}

/** What keeps an executor from opening is thrown; later it is a failure of the case that needs it. */
async function firstOpening(shared: SharedExecutor, executor: string, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new QuaverError('executor-plugin-invalid', `open() gave nothing within ${timeoutMs / 1000} s`, {
      where: { executor },
    });
    timer = setTimeout(() => reject(error), timeoutMs);
  });
  await Promise.race([shared.get(), late]).finally(() => clearTimeout(timer));
}

function report(item: ConformanceCase, outcome: Outcome, skipReason: string | undefined): CaseReport {
  const { name, op, dtypes, resultDTypes: result_dtypes } = item;
  const head = { name, op, dtypes, result_dtypes };
  if (skipReason === undefined) return { ...head, ...outcome };
  if (outcome.status === 'failed') return { ...head, ...outcome, status: 'skipped', reason: skipReason };
  const what = outcome.status === 'passed' ? 'unexpected pass' : 'refused by supports(), which needs no skip';
  return { ...head, ...outcome, status: 'failed', reason: `${what}; the skip list says: ${skipReason}` };
}

function unusedPattern(pattern: string): CaseReport {
  const reason = 'no case has this name: remove it from the skip list';
  return { name: `skip list: ${pattern}`, op: '', dtypes: [], result_dtypes: [], status: 'failed', reason };
}
