/** @file The loop of a training run: steps, evaluations, checkpoints, and what to do when gradients break. */
import { abortedError, throwIfAborted } from '@quaver/executor';
import type { TensorToWrite } from '@quaver/formats';
import { QuaverError } from '@quaver/numerics';
import { parametersSha256 } from '../checkpoint/hash-bytes.ts';
import type { CheckpointStore } from '../checkpoint/store.ts';
import type { Batch } from '../data/batch.ts';
import type { Dataset, TrainingBatch } from '../data/dataset.ts';
import type { StepRecord } from '../metrics/records.ts';
import type { RunWriter } from '../metrics/run-writer.ts';
import { schedule } from '../schedule.ts';
import { afterEvaluation, freshRunState, parseRunState } from './run-state.ts';
import type { TrainRunOptions, TrainRunResult } from './run-types.ts';
import type { TrainingSession } from './training-session.ts';

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
  #state = freshRunState;
  #skippedInARow = 0;
  #savedAt = -1;

  constructor(options: TrainRunOptions, parts: RunParts) {
    this.#options = options;
    this.#parts = parts;
    const { cooldown, ...rest } = options.config.schedule;
    this.#rate = schedule({
      ...rest,
      steps: options.config.steps,
      ...(cooldown === undefined ? {} : { cooldown }),
    });
  }

  async restore(step: number): Promise<void> {
    const { session, store } = this.#parts;
    const checkpoint = await store.open(step);
    try {
      this.#state = parseRunState(checkpoint.json, checkpoint.folder);
      await session.restore(async (kind, { name, dtype, shape }) => {
        const tensor = (kind === 'parameter' ? checkpoint.parameters : checkpoint.state).get(name);
        if (tensor?.dtype === dtype && tensor.shape.join() === shape.join()) return tensor.read();
        const found = tensor ? `is ${tensor.dtype}[${tensor.shape}]` : 'is missing';
        throw new QuaverError(
          'checkpoint-of-another-model',
          `${checkpoint.folder}: '${name}' ${found}, expected ${dtype}[${shape}]`,
          {
            hint: 'Resume with the model and the optimizer that the run was started with.',
            where: { file: checkpoint.folder, tensor: name },
          },
        );
      }, this.#state.applied_steps);
      this.#savedAt = step;
    } finally {
      await checkpoint.close();
    }
  }

  async run(): Promise<TrainRunResult> {
    const { config, signal } = this.#options;
    if (config.evaluate && this.#state.step === 0) {
      this.#state = { ...this.#state, val_loss_before: await this.#evaluate() };
      throwIfAborted(signal);
    }
    const first = this.#state.step;
    const cursor = this.#state.cursor;
    const batches = this.#parts.dataset.batches({ ...(cursor ? { cursor } : {}) });
    let ended: TrainRunResult['ended'] = 'steps';
    let [tokens, seconds] = [0, 0];
    try {
      while (this.#state.step < config.steps) {
        if (signal?.aborted) {
          await this.#save();
          throw abortedError(signal);
        }
        const record = await this.#step(batches);
        tokens += record.tokens;
        seconds += trainingSeconds(record);
        const secondsLeft = ((config.steps - record.step) * seconds) / (record.step - first);
        this.#options.onEvent?.({ phase: 'step', record, steps: config.steps, secondsLeft });
        if (this.#isOutOfPatience()) {
          ended = 'early-stop';
          break;
        }
      }
    } finally {
      await batches.return();
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
      ended,
    };
  }

  async #step(batches: AsyncGenerator<TrainingBatch, void, undefined>): Promise<StepRecord> {
    const { config } = this.#options;
    const { session, writer } = this.#parts;
    const step = this.#state.step + 1;
    const lr = this.#rate(step);
    const start = performance.now();
    const { taken, cursor } = await take(batches, config.batch.accumulate);
    const data = (performance.now() - start) / 1000;
    // Not stopped by the signal: half a step would have to be thrown away.
    const { loss, gradNorm, skipped, seconds } = await session.step(taken, lr);
    const tokens = taken.reduce((sum, { realTokens }) => sum + realTokens, 0);
    this.#skippedInARow = skipped ? this.#skippedInARow + 1 : 0;
    this.#state = {
      ...this.#state,
      step,
      applied_steps: session.appliedSteps,
      tokens: this.#state.tokens + tokens,
      loss: Number.isFinite(loss) ? loss : null,
      cursor,
    };
    const due = config.evaluate && (step % config.evaluate.every === 0 || step === config.steps);
    const evaluation = due ? await timed(() => this.#evaluate()) : undefined;
    if (evaluation) this.#state = afterEvaluation(this.#state, evaluation.result);
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
      seconds: { data, ...seconds, ...(evaluation ? { evaluate: evaluation.seconds } : {}) },
    };
    await writer.step(record);
    if (this.#skippedInARow >= config.max_skipped) throw await this.#diverged();
    if (step % config.checkpoint.every === 0) await this.#save();
    return record;
  }

  async #evaluate(): Promise<number> {
    const { onEvent, config } = this.#options;
    const { dataset, session } = this.#parts;
    onEvent?.({ phase: 'evaluate', step: this.#state.step });
    const { loss } = await session.evaluate(upTo(dataset.validation(), config.evaluate!.batches));
    onEvent?.({ phase: 'evaluate', step: this.#state.step, loss });
    return loss;
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
      ...(val_loss === null ? {} : { metric: val_loss }),
      parameters: this.#tensors('parameters'),
      state: this.#tensors('states'),
      json: JSON.parse(JSON.stringify(this.#state)),
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

  /** The weights may be what is broken; then the first of them is named. */
  async #diverged(): Promise<QuaverError> {
    const { session } = this.#parts;
    for (const { name } of session.parameters) {
      const bytes = await session.readParameter(name);
      const at = new Float32Array(bytes.slice().buffer).findIndex((value) => !Number.isFinite(value));
      if (at < 0) continue;
      return new QuaverError('weights-not-finite', `'${name}' is not finite at element ${at}`, {
        hint: 'The model that the run started from is broken: import it again.',
        where: { tensor: name, element: at },
      });
    }
    const { step } = this.#state;
    return new QuaverError(
      'training-diverged',
      `the gradient was not finite in ${this.#skippedInARow} steps in a row, up to step ${step}`,
      {
        hint: 'Lower schedule.peak, lengthen schedule.warmup, or train in bf16. The last checkpoint is as it was.',
        where: { step },
      },
    );
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

/** The next micro-batches; the data has no end. */
async function take(
  batches: AsyncGenerator<TrainingBatch, void, undefined>,
  count: number,
): Promise<{ readonly taken: readonly Batch[]; readonly cursor: TrainingBatch['cursor'] }> {
  const taken: TrainingBatch[] = [];
  while (taken.length < count) {
    const next = await batches.next();
    if (next.done) throw new Error('the batches ended');
    taken.push(next.value);
  }
  return { taken: taken.map(({ batch }) => batch), cursor: taken.at(-1)!.cursor };
}

async function* upTo<T>(items: AsyncIterable<T>, count = Number.POSITIVE_INFINITY): AsyncGenerator<T> {
  let given = 0;
  for await (const item of items) {
    if (given++ >= count) return;
    yield item;
  }
}
