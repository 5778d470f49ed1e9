/** @file What the thread of a task runs: it opens the task, and answers one call after another. */
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { QuaverError } from '@quaver/numerics';
import type { Environment, ProblemSplit, RlProblem, RlResponse } from '../environment.ts';
import { openEnvironment, type TaskSpec } from './open-environment.ts';

export interface TaskWorkerData {
  readonly spec: TaskSpec;
  readonly seed: number;
}

export type TaskCall =
  | { readonly method: 'describe' }
  | { readonly method: 'size'; readonly split: ProblemSplit }
  | { readonly method: 'problem'; readonly index: number; readonly split: ProblemSplit }
  | { readonly method: 'respond' | 'verify'; readonly problem: RlProblem; readonly response: RlResponse };

export type TaskAnswer =
  | { readonly kind: 'done'; readonly result: unknown }
  /** A code is that of a QuaverError. */
  | { readonly kind: 'failed'; readonly message: string; readonly code?: string; readonly hint?: string | undefined };

const { spec, seed } = workerData as TaskWorkerData;
const port = parentPort!;
const load = (module: string) => import(/^([A-Za-z]:)?[/\\]/.test(module) ? pathToFileURL(module).href : module);
const opened = openEnvironment(spec, seed, load);
// Told to whoever asks first.
opened.catch(() => undefined);

port.on('message', async (call: TaskCall) => {
  try {
    const result = await answer(await opened, call);
    port.postMessage({ kind: 'done', result } satisfies TaskAnswer);
  } catch (error) {
    port.postMessage(failure(error));
  }
});

async function answer(task: Environment, call: TaskCall): Promise<unknown> {
  if (call.method === 'describe') return { hasTurns: typeof task.respond === 'function' };
  if (call.method === 'size') return (await task.size?.(call.split)) ?? null;
  if (call.method === 'problem') return task.problem(call.index, call.split);
  if (call.method === 'respond') return task.respond?.(call.problem, call.response);
  return task.verify(call.problem, call.response);
}

function failure(error: unknown): TaskAnswer {
  if (!(error instanceof QuaverError)) return { kind: 'failed', message: String(error) };
  const { code, message, hint } = error;
  return { kind: 'failed', message, code, hint };
}
