/** @file Options that several algorithms have, as fields of a configuration, and what they mean. */
import { z } from 'zod';
import type { AdvantageEstimator } from '../advantages/estimator.ts';
import {
  type GroupBaseline,
  type GroupStd,
  groupBaselines,
  groupRelative,
  groupStds,
} from '../advantages/group-relative.ts';
import { type Aggregation, aggregations } from '../aggregation.ts';
import { type KlEstimator, klEstimators } from '../kl.ts';
import type { Clip } from '../objective/clipped-surrogate.ts';
import type { Penalties } from '../objective/policy-objective.ts';
import type { AlgorithmPlan } from './algorithm.ts';

type NumberOption = z.ZodDefault<z.ZodNumber>;
type ChoiceOption<T extends string> = z.ZodDefault<z.ZodType<T>>;

type LossOptions = {
  /** How the losses of tokens become one. */
  readonly aggregation: ChoiceOption<Aggregation>;
  /** What `constant` divides by; null: the most tokens that may be sampled. */
  readonly constant_length: z.ZodDefault<z.ZodNullable<z.ZodNumber>>;
  readonly kl_coefficient: NumberOption;
  readonly kl_estimator: ChoiceOption<KlEstimator>;
  readonly entropy_coefficient: NumberOption;
};

/** No reference policy is needed by default: it would be a second model in memory. */
export function lossOptions(aggregation: Aggregation): LossOptions {
  return {
    aggregation: choice(aggregations, aggregation),
    constant_length: z.int().min(1).nullable().default(null),
    kl_coefficient: z.number().min(0).default(0),
    kl_estimator: choice(klEstimators, 'k3'),
    entropy_coefficient: z.number().min(0).default(0),
  };
}

type LossValues = z.output<z.ZodObject<LossOptions>>;

export function penalties(options: LossValues): Penalties {
  return {
    klCoefficient: options.kl_coefficient,
    klEstimator: options.kl_estimator,
    entropyCoefficient: options.entropy_coefficient,
  };
}

export function aggregationOf(options: LossValues): Pick<AlgorithmPlan, 'aggregation' | 'constantLength'> {
  return { aggregation: options.aggregation, constantLength: options.constant_length ?? undefined };
}

type ClipOptions = {
  readonly clip_low: NumberOption;
  readonly clip_high: NumberOption;
};

export function clipOptions(low: number, high: number): ClipOptions {
  return { clip_low: z.number().gt(0).max(1).default(low), clip_high: z.number().gt(0).default(high) };
}

/** Off by default. */
export const dualClipOption: { readonly dual_clip: z.ZodDefault<z.ZodNullable<z.ZodNumber>> } = {
  dual_clip: z.number().gt(1).nullable().default(null),
};

type ClipValues = z.output<z.ZodObject<ClipOptions>> & { readonly dual_clip?: number | null };

export function clipOf(options: ClipValues): Clip {
  return { low: options.clip_low, high: options.clip_high, dual: options.dual_clip ?? undefined };
}

type GroupOptions = {
  readonly baseline: ChoiceOption<GroupBaseline>;
  readonly std: ChoiceOption<GroupStd>;
  readonly std_eps: NumberOption;
};

export function groupOptions(baseline: GroupBaseline, std: GroupStd): GroupOptions {
  return {
    baseline: choice(groupBaselines, baseline),
    std: choice(groupStds, std),
    std_eps: z.number().min(0).default(1e-6),
  };
}

export function groupAdvantageOf(options: z.output<z.ZodObject<GroupOptions>>): AdvantageEstimator {
  return groupRelative({ baseline: options.baseline, std: options.std, eps: options.std_eps });
}

type UpdateOptions = {
  /** Passes over a batch. */
  readonly epochs: NumberOption;
  /** Parts of a pass, one optimizer step each. */
  readonly minibatches: NumberOption;
};

export function updateOptions(epochs: number): UpdateOptions {
  return { epochs: z.int().min(1).default(epochs), minibatches: z.int().min(1).default(1) };
}

export function updatesOf(
  options: z.output<z.ZodObject<UpdateOptions>>,
): Pick<AlgorithmPlan, 'epochs' | 'minibatches'> {
  return { epochs: options.epochs, minibatches: options.minibatches };
}

function choice<T extends string>(values: readonly T[], initial: NoInfer<T>): ChoiceOption<T> {
  return (z.enum(values as [T, ...T[]]) as unknown as z.ZodType<T>).default(initial as never);
}
