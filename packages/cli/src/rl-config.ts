/** @file The configuration of a reinforcement-learning run out of a file. */
import path from 'node:path';
import { isObject, type Json, readJsonObject, resolveModelAndRecipe, resolvePaths } from './config-file.ts';

/**
 * A configuration file as it is, with its paths resolved from its folder, and its recipe read where it is a file.
 * @throws QuaverError `file-…`, `rl-config-invalid`, `recipe-invalid`
 */
export async function readRlConfigFile(file: string): Promise<Json> {
  const json = await readJsonObject(file, { invalid: 'rl-config-invalid', page: 'docs/rl.md' });
  const folder = path.dirname(path.resolve(file));
  const resolved = { ...json, ...(await resolveModelAndRecipe(json, folder)) };
  return isObject(json.task) ? { ...resolved, task: resolveTask(json.task, folder) } : resolved;
}

/** A task's own file, and a module that is given by its path. */
function resolveTask(task: Json, folder: string): Json {
  const file = task.file === undefined ? {} : { file: resolvePaths(task.file, folder) };
  const isPath = typeof task.module === 'string' && /^\.{0,2}[/\\]/.test(task.module);
  return { ...task, ...file, ...(isPath ? { module: resolvePaths(task.module, folder) } : {}) };
}
