import { type Correction, defineCorrection, sameWeight } from './correction.ts';

export const none: Correction = defineCorrection({
  name: 'none',
  summary: 'No correction: generation and training have the same log-probabilities.',
  options: {},
  build: () => (ratios) => ({ weights: sameWeight(ratios.length, 1), truncated: 0 }),
});
