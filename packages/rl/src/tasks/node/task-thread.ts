/** @file A thread that runs a task's code, and that is ended and made anew when the code does not return. */
import { Worker } from 'node:worker_threads';
import { abortedError } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import type { RewardFailure } from '../environment.ts';
import type { TaskAnswer, TaskCall, TaskWorkerData } from './task-worker.ts';

/** From the sources it is a .ts file: Node strips the types, and finds the other packages by a condition. */
const extension = /\.\w+$/.exec(import.meta.url)![0];
const workerUrl = new URL(`./task-worker${extension}`, import.meta.url);
const execArgv = extension === '.ts' ? ['--conditions=@quaver/source'] : [];

export interface TaskThreadOptions extends TaskWorkerData {
  readonly timeoutMs: number;
  readonly memoryMb: number;
}

/** What became of a call. */
export type CallOutcome =
  | { readonly ok: true; readonly result: unknown }
  | {
      readonly ok: false;
      readonly reason: RewardFailure;
      readonly message: string;
      readonly code?: string | undefined;
      readonly hint?: string | undefined;
    };

/** A thread may take so long to start and to open the task. */
const startMs = 30_000;

export class TaskThread {
  readonly #options: TaskThreadOptions;
  #worker: Worker | undefined;
  #isClosed = false;

  constructor(options: TaskThreadOptions) {
    this.#options = options;
  }

  /** One call at a time. @throws QuaverError `aborted`, `rl-task-closed` */
  async call(call: TaskCall, signal?: AbortSignal): Promise<CallOutcome> {
    if (signal?.aborted) throw abortedError(signal);
    if (this.#isClosed) throw new QuaverError('rl-task-closed', 'a task is used after it was disposed');
    if (!this.#worker) {
      this.#worker = this.#start();
      // Told apart from the call, or every call after one that hung would be given the time of a start.
      const opened = await this.#ask(this.#worker, { method: 'describe' }, startMs, signal);
      if (!opened.ok) return this.#settled(opened);
    }
    return this.#settled(await this.#ask(this.#worker, call, this.#options.timeoutMs, signal));
  }

  /** Ends the thread; it is not used again. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#end();
  }

  /** A thread that is lost, or did not come back, is ended; the next call starts another. */
  async #settled(outcome: CallOutcome): Promise<CallOutcome> {
    if (!outcome.ok && (outcome.reason === 'timeout' || outcome.reason === 'ended')) await this.#end();
    return outcome;
  }

  async #end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #start(): Worker {
    const { spec, seed, memoryMb } = this.#options;
    const worker = new Worker(workerUrl, {
      ...{ execArgv, name: 'quaver-task', env: {}, stdout: true, stderr: true },
      workerData: { spec, seed } satisfies TaskWorkerData,
      resourceLimits: { maxOldGenerationSizeMb: memoryMb },
    });
    // What the code prints goes nowhere, and must not pile up.
    worker.stdout.resume();
    worker.stderr.resume();
    worker.unref();
    return worker;
  }

  #ask(worker: Worker, call: TaskCall, limit: number, signal: AbortSignal | undefined): Promise<CallOutcome> {
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        clearTimeout(timer);
        worker.off('message', hear).off('error', fail).off('exit', end);
        signal?.removeEventListener('abort', abort);
        worker.unref();
        finish();
      };
      const give = (outcome: CallOutcome) => settle(() => resolve(outcome));
      const hear = (answer: TaskAnswer) => {
        if (answer.kind === 'done') give({ ok: true, result: answer.result });
        else give({ ok: false, reason: 'threw', message: answer.message, code: answer.code, hint: answer.hint });
      };
      const fail = (error: unknown) => give({ ok: false, reason: 'ended', message: String(error) });
      const end = (code: number) => give({ ok: false, reason: 'ended', message: `its thread ended with code ${code}` });
      const abort = () => settle(() => void this.#end().then(() => reject(abortedError(signal!))));
      const timer = setTimeout(
        () => give({ ok: false, reason: 'timeout', message: `it did not return within ${limit} ms` }),
        limit,
      );
      worker.on('message', hear).on('error', fail).on('exit', end);
      signal?.addEventListener('abort', abort);
      worker.ref();
      worker.postMessage(call);
    });
  }
}
