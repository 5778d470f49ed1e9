export { batchBaseline } from './advantages/batch-baseline.ts';
export type { AdvantageEstimate, AdvantageEstimator, GroupAdvantages } from './advantages/estimator.ts';
export {
  type GroupBaseline,
  type GroupRelativeOptions,
  type GroupStd,
  groupRelative,
} from './advantages/group-relative.ts';
export { informativeGroups } from './advantages/informative-groups.ts';
export { type OverlongOptions, overlongReward } from './advantages/overlong.ts';
export { rewardToGo } from './advantages/reward-to-go.ts';
export { type Aggregation, tokenWeights } from './aggregation.ts';
export type { Algorithm, AlgorithmPlan } from './algorithms/algorithm.ts';
export { algorithms, parseAlgorithm } from './algorithms/registry.ts';
export { type ReportedRl, renderRlComparison } from './compare/report.ts';
export { type ComparedRl, type RlRow, rlRow } from './compare/rows.ts';
export { parseRlConfig } from './config/config.ts';
export type { EvaluateConfig, NamedConfig, RlConfig, RolloutConfig } from './config/config-types.ts';
export { checkRecipe, recipeOf } from './config/policy-options.ts';
export { type CorrectionStatistics, correctSequences, type SequenceLogprobs } from './correction/correct-sequences.ts';
export type { Correction, CorrectionRule, SequenceCorrection } from './correction/correction.ts';
export { corrections, parseCorrection } from './correction/registry.ts';
export { type DiagnoseOptions, type Diagnosis, diagnose, type NodeDifference } from './diagnose/diagnose.ts';
export { entropy } from './entropy.ts';
export { type KlEstimator, klTerm } from './kl.ts';
export type { LearningNumbers, MismatchNumbers, RlRecord, RolloutNumbers } from './loop/records.ts';
export type { RlEvent, RlRunResult } from './loop/run-events.ts';
export { MismatchAccumulator, type MismatchMetrics } from './mismatch/metrics.ts';
export { type Clip, clippedSurrogate } from './objective/clipped-surrogate.ts';
export { type Penalties, policyObjective } from './objective/policy-objective.ts';
export type { PolicyInput, PolicyTerm } from './objective/policy-term.ts';
export { Policy, type PolicyOptions } from './policy/policy.ts';
export { type PolicyStatistics, PolicyStatisticsSum, type RatioClip } from './policy-statistics.ts';
export { type Limits, measureLimits } from './roofline/limits.ts';
export { type PhaseRoofline, type Roofline, rooflineOf, rooflineText } from './roofline/roofline.ts';
export type { TaskDefinition, TaskFactory } from './tasks/define-task.ts';
export type {
  Environment,
  ProblemSplit,
  Reward,
  RlProblem,
  RlResponse,
  RlTask,
  Verdict,
} from './tasks/environment.ts';
export { type Expression, type Fraction, parseExpression } from './tasks/expression.ts';
