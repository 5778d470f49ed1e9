/** @file What a step learns from its samples: advantages, corrections, and the optimizer's steps. */
import { isUnified } from '@quaver/compiler';
import { QuaverError } from '@quaver/numerics';
import type { LossBatch, Objective } from '@quaver/train';
import type { AlgorithmPlan } from '../algorithms/algorithm.ts';
import { parseAlgorithm } from '../algorithms/registry.ts';
import type { RlConfig } from '../config/config-types.ts';
import { recipeOf } from '../config/policy-options.ts';
import { correctSequences } from '../correction/correct-sequences.ts';
import type { CorrectionRule } from '../correction/correction.ts';
import { parseCorrection } from '../correction/registry.ts';
import { MismatchAccumulator } from '../mismatch/metrics.ts';
import { perSequence, perToken, type SequenceBatch, sequenceBatches } from '../policy/batches.ts';
import type { Policy } from '../policy/policy.ts';
import { ReferencePolicy } from '../policy/reference.ts';
import { PolicyStatisticsSum } from '../policy-statistics.ts';
import type { WorkMeter } from '../roofline/work.ts';
import type { Experience } from './experience.ts';
import { type Lesson, type Lessons, lessonsOf } from './lessons.ts';
import { type LearningNumbers, type RolloutNumbers, rolloutNumbers } from './records.ts';

/** A step's numbers, without those that the loop knows. */
export interface Learned {
  readonly numbers: RolloutNumbers & LearningNumbers;
  /** Steps of the optimizer, those that were skipped too. */
  readonly optimizerSteps: number;
  readonly seconds: { readonly logprobs: number; readonly forward_backward: number; readonly update: number };
}

export class Learner implements AsyncDisposable {
  readonly #config: RlConfig;
  readonly #plan: AlgorithmPlan;
  readonly #correction: CorrectionRule;
  #policy: Policy | undefined;
  #meter: WorkMeter | undefined;
  #reference: ReferencePolicy | undefined;
  /** Generation promises the bits of training. */
  #isExact = false;

  /** @throws QuaverError `rl-config-invalid` */
  constructor(config: RlConfig) {
    this.#config = config;
    this.#plan = parseAlgorithm(config.algorithm).plan;
    const { leastSamples } = this.#plan.advantage;
    if (config.rollout.samples < leastSamples) {
      const why = `${config.algorithm.name} compares the samples of a prompt, and needs ${leastSamples}`;
      throw new QuaverError('rl-config-invalid', `config.rollout.samples: ${why}`, {
        hint: 'Take more samples, or the algorithm reinforce.',
      });
    }
    this.#correction = parseCorrection(config.correction).rule;
  }

  get objective(): Objective {
    return this.#plan.objective;
  }

  /** See `AlgorithmPlan`. */
  get samplingRounds(): number {
    return this.#plan.samplingRounds;
  }

  /** Before the first step and before anything is restored: the weights that the policy has now are the reference. */
  async open(policy: Policy, meter: WorkMeter): Promise<void> {
    this.#policy = policy;
    this.#meter = meter;
    const { training, isUnified: isShared } = policy;
    const { rowInvariant } = training.session.executor.capabilities;
    this.#isExact = isShared && rowInvariant && training.report.rowInvariant && isUnified(recipeOf(this.#config));
    if (this.#plan.usesReference) {
      this.#reference = await ReferencePolicy.copy(training, training.session.executor);
    }
  }

  /**
   * @param memory what advantages remember of earlier steps
   * @throws QuaverError `rl-reward-not-finite`, `session-…`
   */
  async learn(
    experience: Experience,
    rate: number,
    memory: number | undefined,
  ): Promise<Learned & { readonly memory: number | undefined }> {
    const lessons = lessonsOf(experience, this.#plan, this.#config.rollout.max_new_tokens, memory);
    const numbers = rolloutNumbers(experience, lessons.skippedGroups, this.#policy!.training.appliedSteps);
    // Generation by older weights has other probabilities, whatever the precision.
    const isStale = experience.policyVersion !== this.#policy!.training.appliedSteps;
    const learned = lessons.kept.length === 0 ? nothing : await this.#step(lessons, rate, isStale);
    return { ...learned, numbers: { ...numbers, ...learned.numbers }, memory: lessons.memory };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reference?.[Symbol.asyncDispose]();
  }

  async #step(
    { kept }: Lessons,
    rate: number,
    isStale: boolean,
  ): Promise<Omit<Learned, 'numbers'> & { readonly numbers: LearningNumbers }> {
    const { training } = this.#policy!;
    const { epochs, clip } = this.#plan;
    const parts = this.#partsOf(kept);
    const start = performance.now();
    // Where generation promises the bits of training they are not computed again before the step; the step itself shows them,
    // of all sequences where it is the first.
    const before = this.#isExact && parts.length === 1 ? undefined : await this.#trainingLogprobs(parts, kept);
    const old = before ?? kept.map(({ logprobs }) => logprobs);
    const { weights: corrections, statistics } = correctSequences(
      this.#correction,
      kept.map(({ logprobs: generation }, i) => ({ generation, train: old[i]! })),
    );
    for (const part of parts) part.inputs = await this.#inputs(part, { old, corrections });
    const seconds = { logprobs: (performance.now() - start) / 1000, forward_backward: 0, update: 0 };
    const moved = new PolicyStatisticsSum(clip);
    let [loss, gradNorm, skipped] = [0, 0, 0];
    let trained = before;
    const work = before ? parts.map(({ batches }) => this.#meter!.training('loss', batches)) : [];
    for (let epoch = 0; epoch < epochs; epoch++) {
      for (const { lessons, indices, batches, inputs } of parts) {
        const result = await training.step(inputs, rate, { total: 1, logprobs: true });
        work.push(this.#meter!.training('backward', batches));
        const logprobs = perSequence(batches, lessons, result.logprobs);
        for (const [i, { advantages }] of lessons.entries()) moved.add(logprobs[i]!, old[indices[i]!]!, advantages);
        trained ??= logprobs;
        if (epoch === 0) loss += result.loss / parts.length;
        gradNorm = Math.max(gradNorm, result.gradNorm);
        if (result.skipped) skipped++;
        seconds.forward_backward += result.seconds.forward_backward;
        seconds.update += result.seconds.update;
      }
    }
    const mismatch = new MismatchAccumulator();
    for (const [i, { logprobs }] of kept.entries()) mismatch.add(logprobs, trained![i]!);
    const { tokens: compared, ...errors } = mismatch.metrics();
    const { tokens: _, entropy: __, ...change } = moved.result()!;
    const tokens = kept.reduce((sum, sequence) => sum + sequence.prompt.length + sequence.tokens.length, 0);
    const speed = (epochs * tokens) / (seconds.logprobs + seconds.forward_backward + seconds.update);
    return {
      numbers: {
        ...{ loss, grad_norm: gradNorm, ...(skipped > 0 ? { skipped } : {}) },
        ...{ tokens, tokens_per_s: speed, train_tokens_per_s: speed },
        train_gflop: work.reduce((sum, { flops }) => sum + flops, 0) / 1e9,
        train_gbyte: work.reduce((sum, { bytes }) => sum + bytes, 0) / 1e9,
        ...(isStale ? {} : { compared_tokens: compared, ...errors }),
        ...change,
        correction_weight: statistics.weight,
        corrected_tokens: statistics.truncated_tokens + statistics.dropped_tokens,
      },
      optimizerSteps: epochs * parts.length,
      seconds,
    };
  }

  /** The minibatches of a pass, of about the same size. */
  #partsOf(kept: readonly Lesson[]): Part[] {
    const count = Math.min(this.#plan.minibatches, kept.length);
    const { context } = this.#policy!;
    return Array.from({ length: count }, (_, part) => {
      const indices = [...kept.keys()].filter((i) => i % count === part);
      // Every part stands for the whole.
      const lessons = indices.map((i) => ({ ...kept[i]!, weight: kept[i]!.weight * count }));
      return { indices, lessons, batches: sequenceBatches(lessons, { ...this.#config.batch, context }), inputs: [] };
    });
  }

  async #trainingLogprobs(parts: readonly Part[], kept: readonly Lesson[]): Promise<Float32Array[]> {
    const all: Float32Array[] = Array.from({ length: kept.length });
    for (const { indices, lessons, batches } of parts) {
      const found: Float32Array[] = [];
      for (const batch of batches) found.push(await this.#policy!.training.logprobs(batch));
      for (const [i, logprobs] of perSequence(batches, lessons, found).entries()) all[indices[i]!] = logprobs;
    }
    return all;
  }

  /** The micro-batches with what the objective reads. */
  async #inputs({ lessons, indices, batches }: Part, { old, corrections }: TokenNumbers): Promise<LossBatch[]> {
    const wanted = new Set(this.#plan.objective.inputs);
    const found = [];
    for (const batch of batches) {
      const spread = (valuesOf: (sequence: number) => ArrayLike<number>) => perToken(batch, lessons, valuesOf);
      const inputs: Record<string, Float32Array> = {
        advantages: spread((i) => lessons[i]!.advantages),
        correction: spread((i) => corrections[indices[i]!]!),
        ...(wanted.has('old_logprobs') ? { old_logprobs: spread((i) => old[indices[i]!]!) } : {}),
        ...(this.#reference ? { reference_logprobs: await this.#reference.logprobs(batch) } : {}),
      };
      const mask = spread((i) => new Float32Array(lessons[i]!.tokens.length).fill(lessons[i]!.weight));
      found.push({ ...batch, mask, inputs });
    }
    return found;
  }
}

/** What one step of the optimizer learns from. */
interface Part {
  /** Of the sequences, among all. */
  readonly indices: readonly number[];
  readonly lessons: readonly Lesson[];
  readonly batches: readonly SequenceBatch[];
  /** The batches with what the objective reads. */
  inputs: readonly LossBatch[];
}

/** Of the sampled tokens of each sequence. */
interface TokenNumbers {
  /** Log-probabilities by the weights before the step. */
  readonly old: readonly Float32Array[];
  readonly corrections: readonly Float32Array[];
}

/** No group has anything to learn from. */
const nothing: Omit<Learned, 'numbers'> & { readonly numbers: LearningNumbers } = {
  numbers: { loss: 0, grad_norm: 0, tokens: 0, tokens_per_s: 0, train_tokens_per_s: 0 },
  optimizerSteps: 0,
  seconds: { logprobs: 0, forward_backward: 0, update: 0 },
};
