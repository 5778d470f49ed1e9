/** @file The loop of a training run: steps, evaluations, checkpoints, and what to do when gradients break. */
import { abortedError } from '@quaver/executor';
import type { TensorToWrite } from '@quaver/formats';
import { parametersSha256 } from '../checkpoint/hash-bytes.ts';
import type { CheckpointStore } from '../checkpoint/store.ts';
import type { Batch } from '../data/batch.ts';
import type { Dataset } from '../data/dataset.ts';
import type { StepRecord } from '../metrics/records.ts';
import type { RunWriter } from '../metrics/run-writer.ts';
import { schedule } from '../schedule.ts';
import { checkWeights, diverged } from './finite-weights.ts';
import { afterEvaluation, encodeRunState, finiteOrNull, type RunState } from './run-state.ts';
import type { TrainRunOptions, TrainRunResult } from './run-types.ts';
import { type StepBatches, StepData } from './step-data.ts';
import type { TrainingSession } from './training-session.ts';
import { checkVocabulary } from './vocabulary.ts';

/** What a run is made of while it trains. */
export interface RunParts {
  readonly dataset: Dataset;
  readonly session: TrainingSession;
  readonly store: CheckpointStore;
  readonly writer: RunWriter;
}

/** The steps of a run from where it stands to its end. */
export class TrainLoop {
  readonly #options: TrainRunOptions;
  readonly #parts: RunParts;
  readonly #rate: (step: number) => number;
  #state: RunState;
  #savedAt: number;
  #evaluatedAt = -1;

  /** @param state fresh, or that of the checkpoint to which the session was restored */
  constructor(options: TrainRunOptions, parts: RunParts, state: RunState) {
    this.#options = options;
    this.#parts = parts;
    this.#state = state;
    this.#savedAt = state.step === 0 ? -1 : state.step;
    const { cooldown, ...rest } = options.config.schedule;
    this.#rate = schedule({
      ...rest,
      steps: options.config.steps,
      ...(cooldown === undefined ? {} : { cooldown }),
    });
  }

  async run(): Promise<TrainRunResult> {
    const { config, signal } = this.#options;
    const { dataset } = this.#parts;
    const first = this.#state.step;
    const { cursor } = this.#state;
    const { epochs } = config;
    const batches = dataset.batches({ ...(cursor ? { cursor } : {}), ...(epochs === undefined ? {} : { epochs }) });
    const data = new StepData(batches, config.batch.accumulate);
    let [tokens, seconds] = [0, 0];
    try {
      if (first === 0) await this.#begin(data);
      while (this.#state.step < config.steps && !this.#isOutOfPatience()) {
        if (signal?.aborted) {
          await this.#save();
          throw abortedError(signal);
        }
        const { result: next, seconds: waited } = await timed(() => data.next());
        if (!next) break;
        const isLast = epochs !== undefined && (await data.peek()) === undefined;
        const record = await this.#step(next, waited, isLast);
        tokens += record.tokens;
        seconds += trainingSeconds(record);
        const secondsLeft = ((config.steps - record.step) * seconds) / (record.step - first);
        this.#options.onEvent?.({ phase: 'step', record, steps: config.steps, secondsLeft });
      }
    } finally {
      await data.close();
    }
    await this.#save();
    return {
      steps: this.#state.step,
      loss: this.#state.loss,
      val_loss: this.#state.val_loss,
      best_val_loss: this.#state.best_val_loss,
      val_loss_before: this.#state.val_loss_before,
      tokens: this.#state.tokens,
      tokens_per_s: seconds === 0 ? 0 : tokens / seconds,
      skipped_steps: this.#state.step - this.#state.applied_steps,
      parameters_sha256: await parametersSha256(this.#tensors('parameters')),
      ended: this.#reason(),
    };
  }

  /** Before the first step. There is nothing yet that an abort could lose. */
  async #begin(data: StepData): Promise<void> {
    const { config, signal, module } = this.#options;
    const { session } = this.#parts;
    // Casts to FP8 saturate: neither loss nor gradient would tell of an infinite weight.
    await checkWeights(session);
    const first = await data.peek();
    if (first) {
      for (const batch of first.taken) checkVocabulary(batch, module);
      await session.fillHistories(first.taken, signal ? { signal } : {});
    }
    if (!config.evaluate) return;
    this.#state = { ...this.#state, val_loss_before: finiteOrNull(await this.#evaluate(signal)) };
  }

  async #step({ taken, cursor }: StepBatches, data: number, isLast: boolean): Promise<StepRecord> {
    const { config } = this.#options;
    const { session, writer } = this.#parts;
    const step = this.#state.step + 1;
    const lr = this.#rate(step);
    for (const batch of taken) checkVocabulary(batch, this.#options.module);
    // Not stopped by the signal: half a step would have to be thrown away.
    const { loss, gradNorm, skipped, seconds } = await session.step(taken, lr);
    const tokens = taken.reduce((sum, { realTokens }) => sum + realTokens, 0);
    const skippedInARow = skipped ? this.#state.skipped_in_a_row + 1 : 0;
    // Before the step counts: with weights that are not finite no step can help.
    if (skippedInARow === 1) await checkWeights(session);
    this.#state = {
      ...this.#state,
      step,
      applied_steps: session.appliedSteps,
      tokens: this.#state.tokens + tokens,
      loss: finiteOrNull(loss),
      cursor,
      skipped_in_a_row: skippedInARow,
    };
    const due = config.evaluate && (step % config.evaluate.every === 0 || step === config.steps || isLast);
    const evaluation = due ? await timed(() => this.#evaluate()) : undefined;
    if (evaluation) {
      this.#state = afterEvaluation(this.#state, evaluation.result);
      this.#evaluatedAt = step;
    }
    const measuring = await timed(() => this.#recordQuantization(step, taken));
    const record: StepRecord = {
      step,
      loss,
      ...(evaluation ? { val_loss: evaluation.result } : {}),
      lr,
      grad_norm: gradNorm,
      tokens,
      tokens_per_s: tokens / (data + seconds.forward_backward + seconds.update),
      epoch: cursor.epoch,
      ...(skipped ? { skipped: 1 } : {}),
      seconds: {
        ...{ data, ...seconds },
        ...(evaluation ? { evaluate: evaluation.seconds } : {}),
        ...(measuring.result ? { quantization: measuring.seconds } : {}),
      },
    };
    await writer.step(record);
    if (skippedInARow >= config.max_skipped) {
      throw diverged(`the gradient was not finite in ${skippedInARow} steps in a row, up to step ${step}`, { step });
    }
    if (step % config.checkpoint.every === 0) await this.#save();
    return record;
  }

  /** @returns whether the step was one of those that are recorded, in a run that quantizes something */
  async #recordQuantization(step: number, batches: readonly Batch[]): Promise<boolean> {
    const { quantization_every: every } = this.#options.config;
    if (every === 0 || step % every !== 0) return false;
    const { session, writer } = this.#parts;
    const effects = await session.measureQuantization(batches);
    await writer.quantization(effects.map((effect) => ({ step, ...effect })));
    return effects.length > 0;
  }

  async #evaluate(signal?: AbortSignal): Promise<number> {
    const { onEvent, config } = this.#options;
    const { dataset, session } = this.#parts;
    onEvent?.({ phase: 'evaluate', step: this.#state.step });
    const batches = this.#checked(upTo(dataset.validation(signal), config.evaluate!.batches));
    const { loss } = await session.evaluate(batches, signal);
    onEvent?.({ phase: 'evaluate', step: this.#state.step, loss });
    return loss;
  }

  async *#checked(batches: AsyncIterable<Batch>): AsyncGenerator<Batch> {
    for await (const batch of batches) {
      checkVocabulary(batch, this.#options.module);
      yield batch;
    }
  }

  #reason(): TrainRunResult['ended'] {
    if (this.#state.step >= this.#options.config.steps) return 'steps';
    return this.#isOutOfPatience() ? 'early-stop' : 'epochs';
  }

  #isOutOfPatience(): boolean {
    const { early_stop: rule } = this.#options.config;
    return rule !== undefined && this.#state.evaluations_without_gain >= rule.patience;
  }

  async #save(): Promise<void> {
    const { step, val_loss } = this.#state;
    if (this.#savedAt === step) return;
    const { store, writer } = this.#parts;
    this.#options.onEvent?.({ phase: 'checkpoint', step });
    await writer.flush();
    const { folder } = await store.save({
      step,
      // The loss of an earlier step says nothing about these weights.
      ...(val_loss === null || this.#evaluatedAt !== step ? {} : { metric: val_loss }),
      parameters: this.#tensors('parameters'),
      state: this.#tensors('states'),
      json: encodeRunState(this.#state),
    });
    this.#savedAt = step;
    this.#options.onEvent?.({ phase: 'checkpoint', step, folder });
  }

  #tensors(kind: 'parameters' | 'states'): TensorToWrite[] {
    const { session } = this.#parts;
    return session[kind].map((tensor) => ({
      ...tensor,
      read: () => (kind === 'parameters' ? session.readParameter(tensor.name) : session.readState(tensor.name)),
    }));
  }
}

function trainingSeconds({ seconds }: StepRecord): number {
  return (seconds.data ?? 0) + (seconds.forward_backward ?? 0) + (seconds.update ?? 0);
}

async function timed<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly seconds: number }> {
  const start = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - start) / 1000 };
}

async function* upTo<T>(items: AsyncIterable<T>, count = Number.POSITIVE_INFINITY): AsyncGenerator<T> {
  let given = 0;
  for await (const item of items) {
    if (given++ >= count) return;
    yield item;
  }
}
