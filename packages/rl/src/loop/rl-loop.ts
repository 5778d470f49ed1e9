/** @file The loop: sample, judge, learn, and now and then evaluate and save. */
import { throwIfAborted } from '@quaver/executor';
import type { TensorToWrite } from '@quaver/formats';
import { schedule } from '@quaver/train';
import { type CheckpointStore, parametersSha256, type RunWriter } from '@quaver/train/node';
import type { RlConfig } from '../config/config-types.ts';
import type { Policy } from '../policy/policy.ts';
import type { RlProblem } from '../tasks/environment.ts';
import { type Evaluation, evaluatePolicy } from './evaluate.ts';
import type { Experience } from './experience.ts';
import type { Learner } from './learner.ts';
import type { RlRecord } from './records.ts';
import { encodeRlState, type RlState } from './rl-state.ts';
import { type RolloutParts, rollOut, type StepProblems } from './rollout-phase.ts';
import type { RlEvent, RlLoopResult } from './run-events.ts';
import { noSpans, type Spans } from './spans.ts';

/** What a run is made of. */
export interface RlParts extends RolloutParts {
  readonly policy: Policy;
  readonly learner: Learner;
  readonly store: CheckpointStore;
  readonly writer: RunWriter;
  readonly problemsOf: (step: number) => StepProblems;
  readonly heldOut: readonly RlProblem[];
}

export interface RlLoopOptions {
  readonly config: RlConfig;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: RlEvent) => void) | undefined;
  readonly spans?: Spans | undefined;
}

export class RlLoop {
  readonly #options: RlLoopOptions;
  readonly #parts: RlParts;
  readonly #spans: Spans;
  readonly #rate: (step: number) => number;
  #state: RlState;
  #savedAt: number;
  #evaluatedAt = -1;
  /** The batch of the next step, where it is generated while this one is learned from. */
  #ahead: Promise<Experience> | undefined;

  /** @param state fresh, or that of the checkpoint to which the policy was restored */
  constructor(options: RlLoopOptions, parts: RlParts, state: RlState) {
    this.#options = options;
    this.#spans = options.spans ?? noSpans;
    this.#parts = parts;
    this.#state = state;
    this.#savedAt = state.step === 0 ? -1 : state.step;
    const { cooldown, ...rest } = options.config.schedule;
    const { steps } = options.config;
    this.#rate = schedule({ ...rest, steps, ...(cooldown === undefined ? {} : { cooldown }) });
  }

  /** @throws after a checkpoint of the last whole step was saved, if that could be */
  async run(): Promise<RlLoopResult> {
    try {
      return await this.#run();
    } catch (error) {
      // Nothing goes on when this has ended.
      await this.#ahead?.catch(() => undefined);
      // The failure is what is to be told, also where the executor has gone with the weights.
      const { applied_steps: applied, step } = this.#state;
      const isWhole = this.#parts.policy.training.appliedSteps === applied;
      if (isWhole && step > Math.max(0, this.#savedAt)) await this.#save().catch(() => undefined);
      throw error;
    }
  }

  async #run(): Promise<RlLoopResult> {
    const { config, signal, onEvent } = this.#options;
    const first = this.#state.step;
    const start = performance.now();
    const records: RlRecord[] = [];
    if (config.evaluate && first === 0) {
      const { accuracy } = await this.#evaluate(signal);
      this.#state = { ...this.#state, heldout_accuracy_before: accuracy };
    }
    while (this.#state.step < config.steps) {
      throwIfAborted(signal);
      const step = this.#state.step + 1;
      const record = await this.#spans.run('step', { step }, () => this.#step(step));
      records.push(record);
      const secondsLeft = ((config.steps - record.step) * (performance.now() - start)) / 1000 / (record.step - first);
      onEvent?.({ phase: 'step', record, steps: config.steps, secondsLeft });
    }
    await this.#save();
    return this.#result(records);
  }

  async #step(step: number): Promise<RlRecord> {
    const { config } = this.#options;
    const { learner, policy, engine, writer } = this.#parts;
    const lr = this.#rate(step);
    const begun = performance.now();
    const experience = await this.#experience(step);
    // Not across a checkpoint: a run that is resumed there has no weights of before.
    const isAhead = config.max_policy_age > 0 && step < config.steps && step % config.checkpoint.every !== 0;
    if (isAhead) this.#ahead = this.#generate(step + 1);
    // A failure is seen when this step has ended.
    this.#ahead?.catch(() => undefined);
    const memory = this.#state.advantage_memory ?? undefined;
    const learned = await this.#spans.run('learn', { step }, () => learner.learn(experience, lr, memory));
    const waited = performance.now();
    const ahead = await this.#ahead?.then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    const start = performance.now();
    await this.#spans.run('sync', { step }, () => policy.sync());
    engine.weightsChanged();
    const end = performance.now();
    this.#state = {
      ...this.#state,
      step,
      applied_steps: policy.training.appliedSteps,
      advantage_memory: learned.memory ?? null,
      optimizer_steps: this.#state.optimizer_steps + learned.optimizerSteps,
      rollout_tokens: this.#state.rollout_tokens + learned.numbers.rollout_tokens,
      reward_failures: this.#state.reward_failures + learned.numbers.reward_failures,
      skipped_groups: this.#state.skipped_groups + learned.numbers.skipped_groups,
    };
    const due = config.evaluate && (step % config.evaluate.every === 0 || step === config.steps);
    const evaluationStart = performance.now();
    const evaluation = due ? await this.#evaluate() : undefined;
    const record: RlRecord = {
      step,
      lr,
      ...learned.numbers,
      step_seconds: (end - begun) / 1000,
      ...(evaluation ? { heldout_accuracy: evaluation.accuracy } : {}),
      seconds: {
        ...experience.seconds,
        ...learned.seconds,
        ...(this.#ahead ? { wait: (start - waited) / 1000 } : {}),
        sync: (end - start) / 1000,
        ...(evaluation ? { evaluate: (performance.now() - evaluationStart) / 1000 } : {}),
      },
    };
    await writer.step(record);
    if (ahead) throw ahead.error;
    if (step % config.checkpoint.every === 0) await this.#save();
    return record;
  }

  /** The batch of a step: the one that was generated ahead, or one made now. */
  async #experience(step: number): Promise<Experience> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    return ahead ?? this.#generate(step);
  }

  async #generate(step: number): Promise<Experience> {
    const problems = this.#parts.problemsOf(step);
    // Not stopped by the signal: half a step would have to be thrown away.
    const version = this.#state.applied_steps;
    return this.#spans.run('rollout', { step }, () => rollOut(this.#parts, problems, version));
  }

  async #evaluate(signal?: AbortSignal): Promise<Evaluation> {
    const { step } = this.#state;
    const { evaluate } = this.#options.config;
    const evaluation = await this.#spans.run('evaluate', { step }, () =>
      evaluatePolicy(this.#parts, this.#parts.heldOut, evaluate!, signal),
    );
    const { accuracy } = evaluation;
    const best = Math.max(accuracy, this.#state.best_heldout_accuracy ?? 0);
    this.#state = { ...this.#state, heldout_accuracy: accuracy, best_heldout_accuracy: best };
    this.#evaluatedAt = step;
    this.#options.onEvent?.({ phase: 'evaluate', step, ...evaluation });
    return evaluation;
  }

  async #save(): Promise<void> {
    const { step, heldout_accuracy: accuracy } = this.#state;
    if (this.#savedAt === step) return;
    const { store, writer } = this.#parts;
    await writer.flush();
    const checkpoint = {
      step,
      // The lower the better. The accuracy of an earlier step says nothing about these weights.
      ...(accuracy === null || this.#evaluatedAt !== step ? {} : { metric: 1 - accuracy }),
      parameters: this.#tensors('parameters'),
      state: this.#tensors('states'),
      json: encodeRlState(this.#state),
    };
    const { folder } = await this.#spans.run('checkpoint', { step }, () => store.save(checkpoint));
    this.#savedAt = step;
    this.#options.onEvent?.({ phase: 'checkpoint', step, folder });
  }

  #tensors(kind: 'parameters' | 'states'): TensorToWrite[] {
    const { training } = this.#parts.policy;
    return training[kind].map((tensor) => ({
      ...tensor,
      read: () => (kind === 'parameters' ? training.readParameter(tensor.name) : training.readState(tensor.name)),
    }));
  }

  async #result(records: readonly RlRecord[]): Promise<RlLoopResult> {
    const state = this.#state;
    const last = records.at(-1);
    return {
      steps: state.step,
      loss: last?.loss ?? null,
      reward: last?.reward ?? null,
      heldout_accuracy: state.heldout_accuracy,
      heldout_accuracy_before: state.heldout_accuracy_before,
      best_heldout_accuracy: state.best_heldout_accuracy,
      tokens: state.rollout_tokens,
      reward_failures: state.reward_failures,
      skipped_groups: state.skipped_groups,
      skipped_steps: state.optimizer_steps - state.applied_steps,
      bytes_per_parameter: this.#parts.policy.bytesPerParameter,
      parameters_sha256: await parametersSha256(this.#tensors('parameters')),
    };
  }
}
