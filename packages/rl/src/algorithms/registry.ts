import type { NamedConfig } from '../config/config-types.ts';
import { parseChoice } from '../parse-choice.ts';
import type { Algorithm, AlgorithmPlan } from './algorithm.ts';
import { cispo } from './cispo.ts';
import { dapo } from './dapo.ts';
import { drGrpo } from './dr-grpo.ts';
import { grpo } from './grpo.ts';
import { gspo } from './gspo.ts';
import { ppo } from './ppo.ts';
import { reinforce } from './reinforce.ts';
import { rloo } from './rloo.ts';

/** All algorithms, for documentation and for what a configuration may say. */
export const algorithms: readonly Algorithm[] = [grpo, dapo, drGrpo, rloo, reinforce, gspo, cispo, ppo];

/**
 * The algorithm that a configuration names, with its options.
 * @param source such as `{ name: 'grpo', clip_high: 0.28 }`
 * @throws QuaverError `rl-config-invalid`, naming the path of every wrong field and what it may be
 */
export function parseAlgorithm(source: unknown): { readonly config: NamedConfig; readonly plan: AlgorithmPlan } {
  const { choice, options } = parseChoice('algorithm', algorithms, source);
  return { config: options as NamedConfig, plan: choice.plan(options) };
}
