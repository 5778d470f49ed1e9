/**
 * @file Truncated importance sampling: Ionides, 2008; for rollouts of another engine Yao et al., "Your Efficient RL
 * Framework Secretly Brings You Off-Policy RL Training", 2025.
 *
 *     token:     w_t = min(p_t / g_t, C)
 *     sequence:  w   = min(Π_t p_t / g_t, C) for all tokens
 */
import { z } from 'zod';
import { type Correction, defineCorrection, sameWeight, sumOf } from './correction.ts';

export const truncated: Correction = defineCorrection({
  name: 'tis',
  summary: 'Truncated importance sampling: the ratio of each token, or of each sequence, up to a limit.',
  options: { level: z.enum(['token', 'sequence']).default('token'), limit: z.number().gt(0).default(2) },
  build:
    ({ level, limit }) =>
    (ratios) => {
      if (level === 'token') {
        const exact = ratios.map(Math.exp);
        const weights = Float32Array.from(exact, (ratio) => Math.min(ratio, limit));
        return { weights, truncated: exact.filter((ratio) => ratio > limit).length };
      }
      const ratio = Math.exp(sumOf(ratios));
      const { length } = ratios;
      return { weights: sameWeight(length, Math.min(ratio, limit)), truncated: ratio > limit ? length : 0 };
    },
});
