import { z } from 'zod';
import { type Correction, defineCorrection, sameWeight } from './correction.ts';

/** mean_t exp|p_t − g_t| of a sequence, the token_mult_prob_error of mismatch metrics, says whether it counts. */
export const sequenceError: Correction = defineCorrection({
  name: 'sequence-error',
  summary: 'Drops sequences whose mean multiplicative error of probabilities is above a threshold.',
  options: { threshold: z.number().min(1).default(1.05) },
  build:
    ({ threshold }) =>
    (ratios) => {
      const error = ratios.reduce((sum, ratio) => sum + Math.exp(Math.abs(ratio)), 0) / ratios.length;
      return { weights: sameWeight(ratios.length, error > threshold ? 0 : 1), truncated: 0 };
    },
});
