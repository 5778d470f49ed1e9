/** @file The policy: one set of weights that generates and trains, on one executor or on two. */
import { recipeStates } from '@quaver/compiler';
import { type Executor, Session, type SessionFootprint, sessionFootprint } from '@quaver/executor';
import { modelLimits, pagedCache } from '@quaver/generate';
import { byteCount, evaluateDim, findFunction, type Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { TrainingSession, type TrainingSessionOptions } from '@quaver/train';
import type { RlConfig } from '../config/config-types.ts';

export interface PolicyOptions extends Omit<TrainingSessionOptions, 'generation'> {
  /** Another executor that generates (split mode); left out, generation and training share sessions and weights (unified mode). */
  readonly generationExecutor?: Executor | undefined;
  /** Tokens of a page of the KV cache. */
  readonly pageTokens: number;
}

/** The functions that the rollout engine calls. */
const generationFunctions = ['prefill', 'decode'] as const;

export class Policy implements AsyncDisposable {
  readonly training: TrainingSession;
  /** Has the functions `prefill` and `decode` with a paged cache. */
  readonly generation: Session;
  /** Parameters that are no weights, such as the tables of RoPE. */
  readonly #tables: ReadonlySet<string>;

  private constructor(model: Module, training: TrainingSession, generation: Session) {
    this.training = training;
    this.generation = generation;
    this.#tables = new Set(model.parameters.filter(({ trainable }) => !trainable).map(({ name }) => name));
  }

  /**
   * Compiles a model with its training and generation functions and loads it. Executors stay the caller's.
   * @throws QuaverError `rl-recipe-delayed`, `training-…`, `recipe-…`, `session-…`, `executor-…`, `aborted`
   */
  static async open(model: Module, executor: Executor, options: PolicyOptions): Promise<Policy> {
    const { generationExecutor, pageTokens, ...rest } = options;
    const training = await TrainingSession.open(model, executor, {
      ...rest,
      generation: {
        functions: generationExecutor ? [] : generationFunctions,
        transform: (compiled) => pagedCache(withoutHistories(compiled), { pageTokens }),
      },
    });
    if (!generationExecutor) return new Policy(model, training, training.session);
    const opened: AsyncDisposable[] = [training];
    try {
      const generation = await Session.open(training.module, generationExecutor, {
        functions: generationFunctions,
        computed: generatedFrom(training),
        ...(options.signal ? { signal: options.signal } : {}),
      });
      opened.unshift(generation);
      const policy = new Policy(model, training, generation);
      await policy.sync(options.signal);
      return policy;
    } catch (error) {
      for (const session of opened) await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Positions of the model. */
  get context(): number {
    return modelLimits(this.training.module).context;
  }

  /** Whether generation reads the weights that training writes, without a copy. */
  get isUnified(): boolean {
    return this.generation === this.training.session;
  }

  /** Bytes of the weights that decoding reads, for each parameter of the model. */
  get bytesPerParameter(): number {
    const { module } = this.training;
    const read = new Set(findFunction(module, 'decode')?.parameters.map(({ ref }) => ref));
    const count = this.training.parameters.reduce((sum, { shape }) => sum + elements(shape), 0);
    const bytes = module.parameters
      .filter(({ name }) => read.has(name) && !this.#tables.has(name))
      .reduce((sum, { type }) => sum + evaluateDim(byteCount(type), {}), 0);
    return bytes / count;
  }

  /**
   * What it takes of its executors: weights in every form that is kept, the optimizer, the KV cache, and the largest call, taken
   * to be a micro-batch with rows of `max_new_tokens`.
   * @throws what `sessionFootprint` throws
   */
  async memoryBytes({ rollout, batch }: Pick<RlConfig, 'rollout' | 'batch'>): Promise<number> {
    const { module, session } = this.training;
    const { cache_tokens: cacheTokens, page_tokens: pageTokens, max_sequences: sequences } = rollout;
    const tokens = Math.min(rollout.max_new_tokens, this.context);
    const train = { B: Math.max(1, Math.floor(batch.tokens / tokens)), T: tokens };
    const generate = { B: sequences, N: Math.ceil(tokens / pageTokens), P: Math.ceil(cacheTokens / pageTokens) };
    const training = ['loss', 'backward', 'update'].map((name) => ({ function: name, symbols: train }));
    const generation = [{ function: 'decode', symbols: generate }];
    if (this.isUnified)
      return bytesTaken(await sessionFootprint(module, session.executor, [...training, ...generation]));
    const [ours, theirs] = [
      await sessionFootprint(module, session.executor, training),
      await sessionFootprint(this.generation.module, this.generation.executor, generation),
    ];
    return bytesTaken(ours) + bytesTaken(theirs);
  }

  /**
   * Gives generation the weights as they are now. In unified mode it has them.
   * @returns bytes that were copied
   */
  async sync(signal?: AbortSignal): Promise<number> {
    if (this.isUnified) return 0;
    let bytes = 0;
    for (const name of generatedFrom(this.training)) {
      const data = await this.training.session.readParameter(name, signal);
      await this.generation.writeParameter(name, data, signal);
      bytes += data.byteLength;
    }
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isUnified) await this.generation[Symbol.asyncDispose]();
    await this.training[Symbol.asyncDispose]();
  }
}

function bytesTaken({ workspaces, parameters, states, callBuffers }: SessionFootprint): number {
  const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);
  const forms = [...parameters.values()].map((each) => sum(each.values()));
  return Math.max(...workspaces.values()) + sum(forms) + sum(states.values()) + sum(callBuffers.values());
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** Parameters that steps change and generation reads. */
function generatedFrom({ module, changing }: TrainingSession): readonly string[] {
  const read = new Set(
    generationFunctions.flatMap((name) => findFunction(module, name)?.parameters.map(({ ref }) => ref) ?? []),
  );
  return changing.filter((name) => read.has(name));
}

/** Histories of scales belong to the training step; a generation between two steps would have to share them. */
function withoutHistories(module: Module): Module {
  const history = recipeStates(module).find(({ type }) => type.dtype === 'f32');
  if (!history) return module;
  throw new QuaverError('rl-recipe-delayed', `the recipe has delayed scales (state '${history.name}')`, {
    hint: 'Choose a recipe whose scales come from the values themselves, such as fp8-block.',
    where: { state: history.name },
  });
}
