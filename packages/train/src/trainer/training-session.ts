/** @file A model that trains on one executor: steps, evaluations, and the tensors that a checkpoint holds. */
import {
  type CompileReport,
  type QuantizationMeasure,
  quantizationOutput,
  quantizeWeightsName,
  recipeStates,
  roundingSeedState,
} from '@quaver/compiler';
import { type Executor, Session, type SessionProgress, type SessionState } from '@quaver/executor';
import { findFunction, type HostTensor, type Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { TrainingModule } from '../graph/training-module.ts';
import { type CompiledTraining, type CompileTrainingOptions, compileTraining } from './compile-training.ts';
import { type LossBatch, lossInputs, weightOf } from './loss-inputs.ts';
import { effectsOf, type QuantizationEffect } from './quantization-records.ts';
import { roundingSeed } from './rounding-seed.ts';

export interface TrainingSessionOptions extends CompileTrainingOptions {
  /** Of stochastic rounding, where the recipe has any: a whole number from 0. Default 0. */
  readonly seed?: number | undefined;
  readonly onProgress?: ((progress: SessionProgress) => void) | undefined;
}

export interface StepOptions {
  /** What the masks are divided by; default their sum, so that a loss is a mean over the targets that count. */
  readonly total?: number;
  /** Whether to give the log-probabilities of the targets. */
  readonly logprobs?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface StepResult {
  /** Before the step. The mean over the targets that count, in nats, unless the objective or the total says otherwise. */
  readonly loss: number;
  /** Of each micro-batch, [rows, rowTokens], before the step; where they were asked for. */
  readonly logprobs: readonly Float32Array[];
  /** Of the whole gradient, before it was clipped. */
  readonly gradNorm: number;
  /** Targets that counted. */
  readonly targets: number;
  /** The gradient was not finite, and nothing was changed. */
  readonly skipped: boolean;
  /** Seconds of the parts. */
  readonly seconds: { readonly forward_backward: number; readonly update: number };
}

/** A tensor of a checkpoint. */
export interface TrainingTensor {
  readonly name: string;
  readonly dtype: 'f32' | 'i32';
  readonly shape: readonly number[];
}

export class TrainingSession implements AsyncDisposable {
  /** Compiled. */
  readonly module: Module;
  readonly report: CompileReport;
  /** Parameters of the module whose bytes a step changes: masters, and what is computed from them for the products. */
  readonly changing: readonly string[];
  readonly #training: TrainingModule;
  /** With masters. */
  readonly #source: Module;
  readonly #session: Session;
  readonly #state: SessionState;
  /** Scales come from earlier steps: before the first one, a pass over its data fills the histories. */
  readonly #needsHistory: boolean;
  readonly #measures: readonly QuantizationMeasure[];
  #hasHistory = false;
  /** Steps that changed the parameters: what an optimizer counts. */
  #applied = 0;
  /** What left the session half way through a step. */
  #broken: unknown;

  private constructor(compiled: CompiledTraining, session: Session) {
    const { training, module, report, stepFunctions, measures, computed } = compiled;
    this.#training = training;
    this.#source = training.model;
    this.module = module;
    this.report = report;
    this.changing = [...training.trained, ...computed];
    this.#session = session;
    this.#measures = measures;
    this.#needsHistory = recipeStates(module).some(({ type }) => type.dtype === 'f32');
    this.#state = session.createState({}, stepFunctions);
  }

  /**
   * Compiles an imported model for training and loads it. The executor stays the caller's.
   * @throws QuaverError `training-…`, `recipe-…`, `module-already-lowered`, `session-…`, `executor-…`, `aborted`
   */
  static async open(model: Module, executor: Executor, options: TrainingSessionOptions): Promise<TrainingSession> {
    const { signal, onProgress, seed = 0 } = options;
    const compiled = await compileTraining(model, options);
    const { functions, computed } = compiled;
    const session = await Session.open(compiled.module, executor, {
      functions,
      computed,
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    });
    const opened = new TrainingSession(compiled, session);
    try {
      await opened.#seedRounding(seed, signal);
      await opened.#quantize(signal);
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
    return opened;
  }

  /** The module's own functions (generation, scoring) read the weights as they are now. */
  get session(): Session {
    return this.#session;
  }

  get appliedSteps(): number {
    return this.#applied;
  }

  /**
   * For scales that come from earlier steps: fills their histories by a pass over the micro-batches of the first step, so that an
   * evaluation before it has scales. A step does so itself where it was not done. Without such scales, or with histories, nothing happens.
   * @throws QuaverError `training-no-targets`, `training-session-broken`, `session-…`, `aborted`
   */
  async fillHistories(
    batches: readonly LossBatch[],
    options: Pick<StepOptions, 'total' | 'signal'> = {},
  ): Promise<void> {
    if (!this.#needsHistory || this.#hasHistory) return;
    const { total = targetsOf(batches), signal } = options;
    this.#checkWhole();
    await this.#wholeOrNothing(async () => {
      for (const batch of batches) await this.#run('backward', lossInputs(batch, total), [], signal);
    });
    await this.#discard();
    this.#hasHistory = true;
  }

  /**
   * One step on the micro-batches together, at a learning rate. The signal is heeded until the gradients are complete; then, as after
   * an error in them, the sums are clear again, and the next step is one on its own micro-batches alone.
   * @throws QuaverError `training-rate`, `training-no-targets` when nothing counts, `training-session-broken`, `session-…`, `aborted`
   */
  async step(batches: readonly LossBatch[], rate: number, options: StepOptions = {}): Promise<StepResult> {
    const targets = targetsOf(batches);
    const { total = targets, signal } = options;
    checkRate(rate);
    this.#checkWhole();
    const start = performance.now();
    await this.fillHistories(batches, { total, signal });
    let loss = 0;
    const logprobs: Float32Array[] = [];
    const wanted = ['loss', ...(options.logprobs ? ['logprobs'] : [])];
    await this.#wholeOrNothing(async () => {
      for (const batch of batches) {
        const results = await this.#run('backward', lossInputs(batch, total), wanted, signal);
        loss += results.loss!.data[0]!;
        if (options.logprobs) logprobs.push(results.logprobs!.data as Float32Array);
      }
    });
    const middle = performance.now();
    const { gradNorm, skipped } = await this.#update(rate);
    const seconds = { forward_backward: (middle - start) / 1000, update: (performance.now() - middle) / 1000 };
    return { loss, logprobs, gradNorm, targets, skipped, seconds };
  }

  /**
   * The mean loss over the targets of the batches that count; nothing changes.
   * @throws QuaverError `training-no-targets`, `session-…`, `aborted`
   */
  async evaluate(
    batches: Iterable<LossBatch> | AsyncIterable<LossBatch>,
    signal?: AbortSignal,
  ): Promise<{ readonly loss: number; readonly targets: number }> {
    let [sum, targets] = [0, 0];
    for await (const batch of batches) {
      const weight = weightOf(batch);
      if (weight === 0) continue;
      const { loss } = await this.#run('loss', lossInputs(batch, weight), ['loss'], signal);
      sum += loss!.data[0]! * weight;
      targets += weight;
    }
    if (targets === 0) throw noTargets();
    return { loss: sum / targets, targets };
  }

  /**
   * The log-probabilities of the targets of a batch, [rows, rowTokens], in the bits of a step; nothing changes.
   * @throws QuaverError `session-…`, `aborted`
   */
  async logprobs(batch: LossBatch, signal?: AbortSignal): Promise<Float32Array> {
    // What the objective reads does not matter.
    const none = new Float32Array(batch.rows * batch.rowTokens);
    const inputs = Object.fromEntries(this.#training.objectiveInputs.map((name) => [name, none]));
    const { logprobs } = await this.#run('loss', lossInputs({ ...batch, inputs }, 1), ['logprobs'], signal);
    return logprobs!.data as Float32Array;
  }

  /**
   * What FP8 does to the weights as they are now, and to inputs and gradients of the first micro-batch that counts; nothing changes.
   * Nothing where the session was opened without `measureQuantization`.
   * @throws QuaverError `training-no-targets`, `session-…`, `aborted`
   */
  async measureQuantization(batches: readonly LossBatch[], signal?: AbortSignal): Promise<QuantizationEffect[]> {
    const targets = targetsOf(batches);
    const batch = batches.find((candidate) => weightOf(candidate) > 0)!;
    const effects: QuantizationEffect[] = [];
    for (const measure of this.#measures) {
      const { functionName } = measure;
      const hasInputs = findFunction(this.module, functionName)!.inputs.length > 0;
      const inputs = hasInputs ? lossInputs(batch, targets) : {};
      const { [quantizationOutput]: counts } = await this.#run(functionName, inputs, [quantizationOutput], signal);
      effects.push(...effectsOf(measure, counts!.data, { B: batch.rows, T: batch.rowTokens }));
    }
    return effects;
  }

  /** The weights in f32, those that are frozen too; without tables such as RoPE's. In the order of the module. */
  get parameters(): readonly TrainingTensor[] {
    return this.#training.module.parameters
      .filter(({ trainable }) => trainable)
      .map(({ name, type }) => ({ name, dtype: 'f32', shape: type.shape }));
  }

  /** The states that live from step to step: optimizer moments, histories of scales. */
  get states(): readonly TrainingTensor[] {
    const gradients = new Set(this.#training.trained.map((name) => `gradient.${name}`));
    return this.module.states
      .filter(({ name }) => this.#state.has(name) && !gradients.has(name))
      .map(({ name, type }) => ({ name, dtype: type.dtype as 'f32' | 'i32', shape: type.shape.map(Number) }));
  }

  /**
   * The bytes of one of the {@link parameters}.
   * @throws QuaverError `session-parameter-unknown`, `aborted`
   */
  async readParameter(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    const { module, trained } = this.#training;
    const frozen = trained.includes(name) ? undefined : module.parameters.find((parameter) => parameter.name === name);
    return frozen?.data ? frozen.data.read(signal) : this.#session.readParameter(name, signal);
  }

  /** The model as it was opened, with the weights as they are now in f32; to be read before the session is closed. */
  trainedModule(): Module {
    const own = new Map(this.parameters.map((tensor) => [tensor.name, tensor]));
    const parameters = this.#source.parameters.map((parameter) => {
      if (!own.has(parameter.name)) return parameter;
      const byteLength = parameter.type.shape.reduce((product, dim) => product * dim, 4);
      const read = (signal?: AbortSignal) => this.readParameter(parameter.name, signal);
      return { ...parameter, type: { ...parameter.type, dtype: 'f32' as const }, data: { byteLength, read } };
    });
    return { ...this.#source, parameters };
  }

  /** The bytes of one of the {@link states}. */
  readState(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#session.readState(this.#state, name, signal);
  }

  /**
   * Goes on from a checkpoint: all parameters that train and all states, and the steps that had been applied. Parameters that do
   * not train must be what they were.
   * @throws what reading throws; QuaverError `checkpoint-of-another-model`, `buffer-size`, `aborted`
   */
  async restore(
    read: (kind: 'parameter' | 'state', tensor: TrainingTensor) => Promise<Uint8Array>,
    appliedSteps: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const trained = new Set(this.#training.trained);
    for (const tensor of this.parameters) {
      const bytes = await read('parameter', tensor);
      if (trained.has(tensor.name)) await this.#session.writeParameter(tensor.name, bytes, signal);
      else if (!equalBytes(bytes, await this.readParameter(tensor.name, signal))) throw frozenChanged(tensor.name);
    }
    for (const tensor of this.states) {
      await this.#session.writeState(this.#state, tensor.name, await read('state', tensor), signal);
    }
    this.#applied = appliedSteps;
    this.#hasHistory = true;
    await this.#quantize(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]();
  }

  /** Moves the masters. Not stopped by a signal: half an update could not be taken back. */
  async #update(rate: number): Promise<Pick<StepResult, 'gradNorm' | 'skipped'>> {
    const numbers = { rate, ...this.#training.scalars(this.#applied + 1) };
    const scalars = Object.entries(numbers).map(([name, value]) => [name, scalar(value)] as const);
    try {
      const { grad_norm } = await this.#run('update', Object.fromEntries(scalars), ['grad_norm'], undefined);
      const gradNorm = grad_norm!.data[0]!;
      const skipped = !Number.isFinite(gradNorm);
      if (!skipped) {
        this.#applied++;
        await this.#quantize(undefined);
      }
      return { gradNorm, skipped };
    } catch (error) {
      this.#broken = error;
      throw error;
    }
  }

  /** Clears the sums of gradients when the work that adds to them fails. @throws what the work throws */
  async #wholeOrNothing(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.#discard().catch(() => undefined);
      throw error;
    }
  }

  async #discard(): Promise<void> {
    try {
      await this.#run('discard', {}, [], undefined);
    } catch (error) {
      this.#broken = error;
      throw error;
    }
  }

  #checkWhole(): void {
    if (this.#broken === undefined) return;
    throw new QuaverError('training-session-broken', 'an earlier step failed half way, and could not be taken back', {
      hint: 'Open the model again, and restore a checkpoint.',
      cause: this.#broken,
    });
  }

  async #seedRounding(seed: number, signal: AbortSignal | undefined): Promise<void> {
    const { name } = roundingSeedState;
    if (!this.#state.has(name)) return;
    const bytes = new Uint8Array(Int32Array.of(roundingSeed(seed)).buffer);
    await this.#session.writeState(this.#state, name, bytes, signal);
  }

  async #quantize(signal: AbortSignal | undefined): Promise<void> {
    if (findFunction(this.module, quantizeWeightsName)) await this.#run(quantizeWeightsName, {}, [], signal);
  }

  #run(
    name: string,
    inputs: Readonly<Record<string, HostTensor>>,
    outputs: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<Record<string, HostTensor>> {
    return this.#session.run(name, inputs, { state: this.#state, outputs, ...(signal ? { signal } : {}) });
  }
}

function scalar(value: number): HostTensor {
  return { type: { dtype: 'f32', shape: [1] }, data: Float32Array.of(value) };
}

/** @throws QuaverError `training-no-targets` */
function targetsOf(batches: readonly LossBatch[]): number {
  const targets = batches.reduce((sum, batch) => sum + weightOf(batch), 0);
  if (!(targets > 0)) throw noTargets();
  return targets;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
}

function frozenChanged(name: string): QuaverError {
  return new QuaverError('checkpoint-of-another-model', `'${name}' is frozen, but not what it was in the checkpoint`, {
    hint: 'Restore the model as it was when the run was started, or start a new run.',
    where: { tensor: name },
  });
}

function noTargets(): QuaverError {
  return new QuaverError('training-no-targets', 'no token of the batch counts', {
    hint: 'The loss mask is 0 everywhere: check that the data has answers, and that they fit the length.',
  });
}

/** A rate that is no number would make all weights none. */
function checkRate(rate: number): void {
  if (Number.isFinite(rate) && rate >= 0) return;
  throw new QuaverError('training-rate', `the learning rate is ${rate}, expected a finite number of at least 0`, {
    hint: 'Look at the schedule that gave it.',
    where: { option: 'rate' },
  });
}
