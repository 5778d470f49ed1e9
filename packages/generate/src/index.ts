export { philox4x32, uniform, type Words4 } from '@quaver/numerics';
export type { FoundLogprob, LogprobPath } from './evaluate/generation-paths.ts';
export {
  type LeftOutCase,
  mergeParity,
  type ParityCase,
  type ParityOptions,
  type ParityProgress,
  type ParityReport,
  parity,
} from './evaluate/parity.ts';
export { type Perplexity, type PerplexityOptions, type PerplexityProgress, perplexity } from './evaluate/perplexity.ts';
export {
  type GenerateEvent,
  type GenerateRequest,
  type GenerateResult,
  generate,
  type PrefillEvent,
  type StopReason,
  type TokenEvent,
} from './generate.ts';
export { ModelCalls, type NextTokens, type TokenRows } from './model-calls.ts';
export { type ModelLimits, modelLimits } from './model-limits.ts';
export { RolloutEngine } from './rollout/engine.ts';
export type { Percentiles, RolloutMetrics } from './rollout/metrics.ts';
export { type PagedCacheOptions, pagedCache } from './rollout/paged-cache.ts';
export type {
  RequestId,
  RolloutEvent,
  RolloutFailure,
  RolloutOptions,
  RolloutOutcome,
  RolloutRequest,
  RolloutResult,
  RolloutTokenEvent,
  RunRolloutOptions,
  TopLogprob,
} from './rollout/types.ts';
export { type ResolvedSampling, resolveSampling, type SamplingOptions, sampleToken } from './sampling/sampler.ts';
export { type StopScan, StopStrings } from './text/stop-strings.ts';
export { StreamDecoder } from './text/stream-decoder.ts';
export { type ChatMessage, Tokenizer, type TokenizerFiles } from './text/tokenizer.ts';
