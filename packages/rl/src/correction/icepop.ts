/**
 * @file IcePop: Ling team, "Every Step Evolves: Scaling Reinforcement Learning for Trillion-Scale Thinking Model",
 * 2025, arXiv:2510.18855.
 *
 *     w_t = p_t / g_t where it is within [low, high], else 0
 */
import { z } from 'zod';
import { boundsConflict } from '../option-conflicts.ts';
import { type Correction, defineCorrection } from './correction.ts';

export const icepop: Correction = defineCorrection({
  name: 'icepop',
  summary: 'IcePop (2025): the ratio of each token, and nothing of tokens whose ratio is outside of two bounds.',
  options: { low: z.number().min(0).default(0.5), high: z.number().gt(0).default(5) },
  conflict: ({ low, high }) => boundsConflict(low, high),
  build:
    ({ low, high }) =>
    (ratios) => ({
      weights: Float32Array.from(ratios.map(Math.exp), (ratio) => (ratio >= low && ratio <= high ? ratio : 0)),
      truncated: 0,
    }),
});
