import type { NamedConfig } from '../config/config-types.ts';
import { parseChoice } from '../parse-choice.ts';
import type { Correction, CorrectionRule } from './correction.ts';
import { icepop } from './icepop.ts';
import { none } from './none.ts';
import { sequenceError } from './sequence-error.ts';
import { sequenceMask } from './sequence-mask.ts';
import { truncated } from './truncated.ts';

/** All corrections, for documentation and for what a configuration may say. */
export const corrections: readonly Correction[] = [none, truncated, icepop, sequenceMask, sequenceError];

/**
 * The correction that a configuration names, with its options.
 * @param source such as `{ name: 'tis', limit: 2 }`
 * @throws QuaverError `rl-config-invalid`, naming the path of every wrong field and what it may be
 */
export function parseCorrection(source: unknown): { readonly config: NamedConfig; readonly rule: CorrectionRule } {
  const { choice, options } = parseChoice('correction', corrections, source);
  return { config: options as NamedConfig, rule: choice.rule(options) };
}
