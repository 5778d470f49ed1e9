/** @file What an algorithm is: options that people write in a configuration, and the plan that follows from them. */
import type { JsonValue } from '@quaver/formats';
import type { Objective } from '@quaver/train';
import { z } from 'zod';
import type { AdvantageEstimator } from '../advantages/estimator.ts';
import type { Aggregation } from '../aggregation.ts';
import { type Conflict, refusing } from '../option-conflicts.ts';
import type { RatioClip } from '../policy-statistics.ts';

/** One step of reinforcement learning, as an algorithm wants it. */
export interface AlgorithmPlan {
  /** The loss of a token; its inputs are those of `PolicyInput`. */
  readonly objective: Objective;
  readonly advantage: AdvantageEstimator;
  /** Of a token before the last one, per token; see `rewardToGo`. 1: all tokens of a sequence have its advantage. */
  readonly discount: number;
  readonly aggregation: Aggregation;
  /** What the aggregation `constant` divides by; left out, the most tokens that may be sampled. */
  readonly constantLength?: number | undefined;
  /** Passes over a batch. */
  readonly epochs: number;
  /** Parts of a pass, one optimizer step each. */
  readonly minibatches: number;
  /** Groups whose rewards are all equal are left out of the batch, instead of counting with advantages of 0. */
  readonly dropsEqualGroups: boolean;
  /** How often prompts are sampled at most until as many groups as prompts of a step have rewards that are not all equal. */
  readonly samplingRounds: number;
  /** Whether the objective reads the reference policy. */
  readonly usesReference: boolean;
  /** Whether there is something to learn without advantages: a KL penalty or an entropy bonus. */
  readonly hasPenalties: boolean;
  /** What the objective clips, for statistics; left out where it clips nothing. */
  readonly clip?: RatioClip | undefined;
  /** What is added to the reward of a response of so many tokens, of the most that may be sampled. */
  lengthReward(tokens: number, maxTokens: number): number;
}

export interface Algorithm {
  readonly name: string;
  /** What it is and who described it, in a line. */
  readonly summary: string;
  /** Options with their values where none are given. */
  readonly defaults: Readonly<Record<string, JsonValue>>;
  /** Of the options and the name. */
  readonly schema: z.ZodType;
  /** The plan of options that fit the schema. */
  plan(options: unknown): AlgorithmPlan;
}

interface Definition<S extends z.ZodRawShape> {
  readonly name: string;
  readonly summary: string;
  /** Each has a default. */
  readonly options: S;
  build(options: z.output<z.ZodObject<S>>): PlanParts;
}

/** Of a plan what an algorithm says itself; the rest has the value that most have. */
type PlanParts = Pick<AlgorithmPlan, 'objective' | 'advantage' | 'aggregation'> & Partial<AlgorithmPlan>;

export function defineAlgorithm<S extends z.ZodRawShape>({ name, summary, options, build }: Definition<S>): Algorithm {
  const own = z.object(options);
  return {
    name,
    summary,
    defaults: own.parse({}) as Readonly<Record<string, JsonValue>>,
    schema: refusing(z.strictObject({ name: z.literal(name), ...options }), own, lossConflict),
    plan(source) {
      const values = own.parse(source);
      const parts = build(values);
      const usesReference = parts.objective.inputs.includes('reference_logprobs');
      const { entropy_coefficient: entropy = 0 } = values as { readonly entropy_coefficient?: number };
      return {
        discount: 1,
        epochs: 1,
        minibatches: 1,
        dropsEqualGroups: false,
        samplingRounds: 1,
        usesReference,
        hasPenalties: usesReference || entropy !== 0,
        lengthReward: () => 0,
        ...parts,
      };
    },
  };
}

/** Of the options that most algorithms have. */
function lossConflict(options: Readonly<Record<string, unknown>>): Conflict | undefined {
  const { aggregation, constant_length: length, clip_high: high, dual_clip: dual } = options;
  if (typeof length === 'number' && aggregation !== 'constant') {
    return { option: 'constant_length', message: 'goes with aggregation "constant" alone' };
  }
  if (typeof dual === 'number' && typeof high === 'number' && dual <= 1 + high) {
    return { option: 'dual_clip', message: `is not above 1 + clip_high, ${1 + high}` };
  }
  return undefined;
}
