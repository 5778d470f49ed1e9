import type { JsonValue } from '@quaver/formats';
import { z } from 'zod';
import type { Environment } from './environment.ts';

/** A task that a configuration can name. */
export interface TaskDefinition {
  readonly name: string;
  /** What it is, in a line. */
  readonly summary: string;
  /** Of the options and the name. */
  readonly schema: z.ZodType;
  /** @param options that fit the schema @param seed which problems there are */
  open(options: unknown, seed: number): Environment | Promise<Environment>;
}

interface Definition<S extends z.ZodRawShape> {
  readonly name: string;
  readonly summary: string;
  readonly options: S;
  open(options: z.output<z.ZodObject<S>>, seed: number): Environment | Promise<Environment>;
}

export function defineTask<S extends z.ZodRawShape>({ name, summary, options, open }: Definition<S>): TaskDefinition {
  const own = z.object(options);
  return {
    name,
    summary,
    schema: z.strictObject({ name: z.literal(name), ...options }),
    open: (source, seed) => open(own.parse(source), seed),
  };
}

/** A task's own file of JavaScript; `seed` is that of the run. */
export type TaskFactory = (options: JsonValue | undefined, seed: number) => Environment | Promise<Environment>;
