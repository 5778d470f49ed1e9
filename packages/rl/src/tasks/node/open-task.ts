/** @file The task of a configuration, whose code runs in threads of its own. */
import { QuaverError, uniform } from '@quaver/numerics';
import { z } from 'zod';
import type { RlConfig } from '../../config/config-types.ts';
import type {
  ProblemSplit,
  Reply,
  Reward,
  RlProblem,
  RlResponse,
  RlTask,
  TaskCallOptions,
  Verdict,
} from '../environment.ts';
import { parseTask } from './parse-task.ts';
import { type CallOutcome, TaskThread } from './task-thread.ts';
import type { TaskCall } from './task-worker.ts';

/**
 * Opens a task. Its code runs in worker threads with a limit of time and memory, without the environment of the process and without
 * its output: that guards a run against mistakes, and is no security boundary against hostile code.
 * @throws QuaverError `rl-config-invalid`, `rl-task-data`, `rl-task-module`, `rl-task-failed`, `rl-task-empty`, `file-…`, `aborted`
 */
export async function openTask(
  config: Pick<RlConfig, 'task' | 'seed' | 'reward'>,
  options: TaskCallOptions = {},
): Promise<RlTask> {
  const { workers, timeout_ms: timeoutMs, memory_mb: memoryMb } = config.reward;
  const spec = parseTask(config.task);
  const threads = Array.from(
    { length: workers },
    () => new TaskThread({ spec, seed: config.seed, timeoutMs, memoryMb }),
  );
  const task = new ThreadedTask(threads, config.seed, 'module' in config.task ? `${config.task.module}: ` : '');
  try {
    await task.open(options);
  } catch (error) {
    await task[Symbol.asyncDispose]();
    throw error;
  }
  return task;
}

class ThreadedTask implements RlTask {
  readonly #threads: readonly TaskThread[];
  readonly #seed: number;
  readonly #name: string;
  /** Threads that nobody uses, and who waits for one. */
  readonly #idle: TaskThread[];
  readonly #waiting: ((thread: TaskThread) => void)[] = [];
  readonly #sizes = new Map<ProblemSplit, number | null>();
  #order: { readonly round: number; readonly places: Uint32Array } | undefined;
  respond?: RlTask['respond'];

  /** @param name of its module, before what is wrong with it */
  constructor(threads: readonly TaskThread[], seed: number, name: string) {
    this.#name = name;
    this.#threads = threads;
    this.#idle = [...threads];
    this.#seed = seed;
  }

  async open({ signal }: TaskCallOptions): Promise<void> {
    const { hasTurns } = (await this.#must({ method: 'describe' }, 'be opened', signal)) as { hasTurns: boolean };
    for (const split of ['train', 'held-out'] as const) {
      this.#sizes.set(split, (await this.#must({ method: 'size', split }, 'be counted', signal)) as number | null);
    }
    if (this.#sizes.get('train') === 0) {
      throw new QuaverError('rl-task-empty', 'the task has no problem to learn from', {
        hint: 'Give it at least one.',
      });
    }
    if (hasTurns) this.respond = (problem, response, options) => this.#respond(problem, response, options);
  }

  async problems(first: number, count: number): Promise<readonly RlProblem[]> {
    const size = this.#sizes.get('train') ?? null;
    const places = Array.from({ length: count }, (_, i) => this.#placeOf(first + i, size));
    return Promise.all(places.map((index) => this.#problem(index, 'train')));
  }

  async heldOut(count: number): Promise<readonly RlProblem[]> {
    const size = this.#sizes.get('held-out') ?? Number.POSITIVE_INFINITY;
    return Promise.all(Array.from({ length: Math.min(count, size) }, (_, i) => this.#problem(i, 'held-out')));
  }

  async verify(problem: RlProblem, response: RlResponse, { signal }: TaskCallOptions = {}): Promise<Reward> {
    const outcome = await this.#call({ method: 'verify', problem, response }, signal);
    if (!outcome.ok) return { status: 'failed', reason: outcome.reason, message: outcome.message };
    if (isVerdict(outcome.result)) return { status: 'ok', ...outcome.result };
    const found = JSON.stringify(outcome.result) ?? 'undefined';
    const message = `expected {"reward": a finite number, "correct": true or false}, found ${found.slice(0, 200)}`;
    return { status: 'failed', reason: 'invalid', message };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  async #respond(problem: RlProblem, response: RlResponse, { signal }: TaskCallOptions = {}): Promise<Reply> {
    const outcome = await this.#call({ method: 'respond', problem, response }, signal);
    if (!outcome.ok) return { status: 'failed', reason: outcome.reason, message: outcome.message };
    const { result } = outcome;
    if (result === undefined || typeof result === 'string') return result;
    const message = `respond: expected a text or undefined, found ${JSON.stringify(result)?.slice(0, 200)}`;
    return { status: 'failed', reason: 'invalid', message };
  }

  /** Which problem stands at a place of the endless list. */
  #placeOf(position: number, size: number | null): number {
    if (size === null) return position;
    const round = Math.floor(position / size);
    if (this.#order?.round !== round) this.#order = { round, places: orderOf(round, size, this.#seed) };
    return this.#order.places[position % size]!;
  }

  async #problem(index: number, split: ProblemSplit): Promise<RlProblem> {
    const problem = await this.#must({ method: 'problem', index, split }, `give problem ${index} (${split})`);
    const parsed = problemSchema.safeParse(problem);
    if (parsed.success) return problem as RlProblem;
    const { path, message } = parsed.error.issues[0]!;
    const place = ['problem', ...path.map(String)].join('.');
    throw new QuaverError('rl-task-failed', `the task gave no problem ${index} (${split}): '${place}': ${message}`, {
      hint: 'A problem is {"id": a text, "messages": [{"role", "content"}, …], "data": JSON for the verifier}.',
    });
  }

  /** What a run cannot do without. */
  async #must(call: TaskCall, what: string, signal?: AbortSignal): Promise<unknown> {
    const outcome = await this.#call(call, signal);
    if (outcome.ok) return outcome.result;
    const { code = 'rl-task-failed', message, hint } = outcome;
    const told = outcome.code === undefined ? `${this.#name}the task cannot ${what}: ${message}` : message;
    throw new QuaverError(code, told, { hint: hint ?? 'See docs/rl.md for what a task is.' });
  }

  async #call(call: TaskCall, signal?: AbortSignal): Promise<CallOutcome> {
    const thread = this.#idle.pop() ?? (await new Promise<TaskThread>((resolve) => void this.#waiting.push(resolve)));
    try {
      return await thread.call(call, signal);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(thread);
      else this.#idle.push(thread);
    }
  }
}

/** In every round each of so many problems comes once, in an order that follows from (seed, round). */
export function orderOf(round: number, size: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: size }, (_, i) => i);
  // Fisher and Yates.
  for (let i = size - 1; i > 0; i--) {
    const other = Math.floor(uniform(seed, round, i) * (i + 1));
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  return order;
}

const problemSchema = z.object({
  id: z.string(),
  messages: z.array(z.object({ role: z.enum(['system', 'user', 'assistant', 'tool']), content: z.string() })).min(1),
});

function isVerdict(value: unknown): value is Verdict {
  const { reward, correct } = (value ?? {}) as Partial<Verdict>;
  return Number.isFinite(reward) && typeof correct === 'boolean';
}
