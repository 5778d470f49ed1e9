import type { z } from 'zod';

/** An option that does not go with the others, and why. */
export interface Conflict {
  readonly option: string;
  readonly message: string;
}

/** The schema, which refuses options that do not go together as it refuses wrong ones. @param options fills in defaults */
export function refusing<T extends z.ZodType, O extends z.ZodType>(
  schema: T,
  options: O,
  conflictOf: (values: z.output<O>) => Conflict | undefined,
): T {
  return schema.superRefine((given, context) => {
    // Refinements also see what is wrong by itself, which is told already.
    const values = options.safeParse(given);
    const conflict = values.success ? conflictOf(values.data) : undefined;
    if (conflict) context.addIssue({ code: 'custom', path: [conflict.option], message: conflict.message });
  }) as T;
}

/** Of two bounds. */
export function boundsConflict(low: number, high: number): Conflict | undefined {
  return low > high ? { option: 'low', message: `is ${low}, above high, ${high}` } : undefined;
}
