import { z } from 'zod';
import { parseChoice, parseField } from '../../parse-choice.ts';
import { type TaskSpec, tasks } from './open-environment.ts';

const moduleSchema = z.strictObject({ module: z.string().min(1), options: z.json().optional() });

/**
 * What a configuration names as its task.
 * @throws QuaverError `rl-config-invalid`, naming the path of every wrong field and what it may be
 */
export function parseTask(source: unknown): TaskSpec {
  const isModule = typeof source === 'object' && source !== null && 'module' in source;
  if (!isModule) {
    const { choice, options } = parseChoice('task', tasks, source);
    return { kind: 'built-in', name: choice.name, options };
  }
  const { module, options } = parseField('task', moduleSchema, source) as z.output<typeof moduleSchema>;
  return { kind: 'module', module, options };
}
