/**
 * @file Whole sequences are left out where generation and training disagree on them.
 *
 *     geometric:  exp(mean_t log(p_t / g_t)) is outside of [low, high]
 *     any-token:  p_t / g_t of any token is outside of [low, high]
 */
import { z } from 'zod';
import { boundsConflict } from '../option-conflicts.ts';
import { type Correction, defineCorrection, sameWeight, sumOf } from './correction.ts';

/** The geometric mean moves far less than single ratios. */
const bounds = { geometric: { low: 0.999, high: 1.002 }, 'any-token': { low: 0.5, high: 5 } } as const;

export const sequenceMask: Correction = defineCorrection({
  name: 'sequence-mask',
  summary: 'Drops sequences whose geometric mean ratio, or the ratio of any token, is outside of two bounds.',
  options: {
    level: z.enum(['geometric', 'any-token']).default('geometric'),
    /** null: 0.999 for geometric, 0.5 for any-token. */
    low: z.number().min(0).nullable().default(null),
    /** null: 1.002 for geometric, 5 for any-token. */
    high: z.number().gt(0).nullable().default(null),
    /** What the tokens of a sequence that stays count: 1, or their ratio. */
    weight: z.enum(['one', 'ratio']).default('one'),
  },
  conflict: ({ level, low, high }) => boundsConflict(low ?? bounds[level].low, high ?? bounds[level].high),
  build: ({ level, weight, ...given }) => {
    const low = given.low ?? bounds[level].low;
    const high = given.high ?? bounds[level].high;
    return (ratios) => {
      const judged = level === 'geometric' ? [sumOf(ratios) / ratios.length] : ratios;
      const stays = judged.every((ratio) => Math.exp(ratio) >= low && Math.exp(ratio) <= high);
      if (!stays) return { weights: sameWeight(ratios.length, 0), truncated: 0 };
      const weights = weight === 'one' ? sameWeight(ratios.length, 1) : Float32Array.from(ratios, Math.exp);
      return { weights, truncated: 0 };
    };
  },
});
