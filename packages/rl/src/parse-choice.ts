/** @file A choice with options of its own in a configuration, such as `{ "name": "grpo", "clip_high": 0.28 }`. */
import { describeIssues } from '@quaver/compiler';
import { QuaverError } from '@quaver/numerics';
import { fieldsInstead } from '@quaver/train';
import { z } from 'zod';

interface Choice {
  readonly name: string;
  /** Of the options and the name. */
  readonly schema: z.ZodType;
}

/**
 * The choice that is named, and its options with defaults filled in.
 * @param field where it stands in the configuration
 * @throws QuaverError `rl-config-invalid`, naming the path of every wrong field and what it may be
 */
export function parseChoice<C extends Choice>(
  field: string,
  choices: readonly C[],
  source: unknown,
): { readonly choice: C; readonly options: unknown } {
  const names = choices.map(({ name }) => name);
  const named = parseField(field, z.looseObject({ name: z.enum(names) }), source);
  const choice = choices.find(({ name }) => name === (named as { readonly name: string }).name)!;
  return { choice, options: parseField(field, choice.schema, source) };
}

/** A field of the configuration. @throws QuaverError `rl-config-invalid` */
export function parseField(field: string, schema: z.ZodType, source: unknown): unknown {
  const whole = z.strictObject({ [field]: schema });
  const document = { [field]: source };
  const parsed = whole.safeParse(document);
  if (parsed.success) return parsed.data[field];
  const hint = fieldsInstead(whole, parsed.error, document);
  throw new QuaverError('rl-config-invalid', describeIssues(parsed.error, 'config').join('; '), {
    hint: hint ?? 'See docs/rl.md for the fields and their values.',
  });
}
