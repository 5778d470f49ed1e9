/** @file Tasks as their threads open them. What is imported here is loaded by every thread: it is little. */
import type { JsonValue } from '@quaver/formats';
import { QuaverError } from '@quaver/numerics';
import { arithmetic } from '../arithmetic.ts';
import { calculator } from '../calculator.ts';
import { countdown } from '../countdown.ts';
import type { TaskDefinition, TaskFactory } from '../define-task.ts';
import type { Environment } from '../environment.ts';
import { strings } from '../strings.ts';
import { jsonl } from './jsonl.ts';

/** All tasks that have names, for documentation and for what a configuration may say. */
export const tasks: readonly TaskDefinition[] = [arithmetic, countdown, strings, calculator, jsonl];

/** A built-in task by name, or a module of one's own. */
export type TaskSpec =
  | { readonly kind: 'built-in'; readonly name: string; readonly options: unknown }
  | { readonly kind: 'module'; readonly module: string; readonly options: JsonValue | undefined };

/**
 * Opens a task in this thread.
 * @param load imports a module
 * @throws QuaverError `rl-task-data`, `rl-task-module`, `file-…`, and what a module of one's own throws
 */
export async function openEnvironment(
  spec: TaskSpec,
  seed: number,
  load: (module: string) => Promise<unknown>,
): Promise<Environment> {
  if (spec.kind === 'built-in') return tasks.find(({ name }) => name === spec.name)!.open(spec.options, seed);
  const loaded = (await load(spec.module)) as { readonly default?: TaskFactory };
  const factory = loaded.default;
  const environment = typeof factory === 'function' ? await factory(spec.options, seed) : undefined;
  if (typeof environment?.problem === 'function' && typeof environment.verify === 'function') return environment;
  throw new QuaverError('rl-task-module', `${spec.module}: its default export gives no task`, {
    hint: 'Export a function (options, seed) => ({ problem(index, split), verify(problem, response) }).',
    where: { file: spec.module },
  });
}
