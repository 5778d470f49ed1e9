/**
 * @file Decoupled Clip and Dynamic sAmpling Policy Optimization: Yu et al., DAPO, 2025, arXiv:2503.14476, equation 8.
 *
 *     loss = −1/Σ|o_i| Σ_i Σ_t min(ρ A_i, clip(ρ, 1 − ε_low, 1 + ε_high) A_i)
 *
 * It is GRPO with a higher upper clip, the mean over tokens instead of sequences, more prompts in the place of groups
 * whose rewards are all equal, and a penalty for responses that come close to the most tokens. There is no KL penalty unless it is chosen.
 */
import { z } from 'zod';
import { overlongReward } from '../advantages/overlong.ts';
import { policyObjective } from '../objective/policy-objective.ts';
import { clippedTokenTerm } from '../objective/policy-terms.ts';
import { type Algorithm, defineAlgorithm } from './algorithm.ts';
import {
  aggregationOf,
  clipOf,
  clipOptions,
  dualClipOption,
  groupAdvantageOf,
  groupOptions,
  lossOptions,
  penalties,
  updateOptions,
  updatesOf,
} from './options.ts';

export const dapo: Algorithm = defineAlgorithm({
  name: 'dapo',
  summary: 'DAPO (Yu et al., 2025): clip-higher, dynamic sampling, token-level loss, soft overlong punishment.',
  options: {
    ...clipOptions(0.2, 0.28),
    ...dualClipOption,
    ...groupOptions('mean', 'sample'),
    ...lossOptions('token-mean'),
    dynamic_sampling: z.boolean().default(true),
    /** How often prompts are sampled at most to fill the batch with groups that differ. */
    sampling_rounds: z.int().min(1).default(3),
    /** The zone of the penalty as a share of the most tokens: 4,096 of 20,480 in the paper. */
    overlong_buffer: z.number().min(0).max(1).default(0.2),
    overlong_penalty: z.number().min(0).default(1),
    ...updateOptions(1),
  },
  build: (options) => ({
    objective: policyObjective(clippedTokenTerm(clipOf(options)), penalties(options)),
    advantage: groupAdvantageOf(options),
    ...aggregationOf(options),
    ...updatesOf(options),
    dropsEqualGroups: options.dynamic_sampling,
    samplingRounds: options.dynamic_sampling ? options.sampling_rounds : 1,
    clip: { ratio: 'token', low: options.clip_low, high: options.clip_high, bySign: true },
    lengthReward: (tokens, maxTokens) =>
      overlongReward(tokens, {
        maxTokens,
        bufferTokens: options.overlong_buffer * maxTokens,
        penalty: options.overlong_penalty,
      }),
  }),
});
