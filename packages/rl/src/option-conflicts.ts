import type { z } from 'zod';

/** An option that does not go with the others, and why. */
export interface Conflict {
  readonly option: string;
  readonly message: string;
}

/** The schema, which refuses options that do not go together as it refuses wrong ones. */
export function refusing<T extends z.ZodType>(
  schema: T,
  conflictOf: (options: z.output<T>) => Conflict | undefined,
): T {
  return schema.superRefine((options, context) => {
    const conflict = conflictOf(options);
    if (conflict) context.addIssue({ code: 'custom', path: [conflict.option], message: conflict.message });
  }) as T;
}

/** Of two bounds. */
export function boundsConflict(low: number, high: number): Conflict | undefined {
  return low > high ? { option: 'low', message: `is ${low}, above high, ${high}` } : undefined;
}
