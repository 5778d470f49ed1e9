import type { Recipe } from '@quaver/compiler';
import {
  type Executor,
  type ExecutorOptions,
  type ExecutorRegistry,
  Session,
  type SessionOptions,
} from '@quaver/executor';
import { Tokenizer } from '@quaver/generate';
import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import { compileModel } from './compile-model.ts';
import { defaultExecutor, executorRegistry } from './executors.ts';
import { isCompiled, recipeOf } from './recipe-of.ts';

/** `threads` and `reduction` are for an executor that is named by its id, and so opened here. */
export interface OpenSessionOptions extends SessionOptions, Pick<ExecutorOptions, 'threads' | 'reduction'> {
  /** An executor by id (default `cpu`), or an open one, which then stays the caller's. */
  readonly executor?: string | Executor;
  /** Where ids are looked up. */
  readonly executors?: ExecutorRegistry;
  /** How to compile a module that is not compiled yet; default `bf16`, the baseline that FP8 is compared with. */
  readonly recipe?: string | Recipe;
}

/** A compiled language model on an executor. Hold it with `await using`, or dispose it. */
export class ModelSession implements AsyncDisposable {
  readonly session: Session;
  readonly recipe: Recipe;
  readonly #ownsExecutor: boolean;
  #tokenizer: Promise<Tokenizer> | undefined;

  constructor(session: Session, recipe: Recipe, ownsExecutor: boolean) {
    this.session = session;
    this.recipe = recipe;
    this.#ownsExecutor = ownsExecutor;
  }

  get module(): Module {
    return this.session.module;
  }

  get executor(): Executor {
    return this.session.executor;
  }

  /** The tokenizer that travels in the module. @throws QuaverError `tokenizer-missing`, `tokenizer-invalid` */
  tokenizer(): Promise<Tokenizer> {
    this.#tokenizer ??= Tokenizer.fromModule(this.module);
    return this.#tokenizer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
    if (this.#ownsExecutor) await this.executor[Symbol.asyncDispose]();
  }
}

/**
 * Opens a model for use: compiles it in memory if it is not compiled, opens the executor, loads the parameters.
 * @throws QuaverError `executor-…`, `session-…`, `recipe-…`, `aborted`
 */
export async function openSession(module: Module, options: OpenSessionOptions = {}): Promise<ModelSession> {
  const { executor: wanted = defaultExecutor, executors, recipe = 'bf16', ...others } = options;
  const { threads, reduction, ...sessionOptions } = others;
  const { signal } = options;
  const executorOptions: ExecutorOptions = {
    ...(threads === undefined ? {} : { threads }),
    ...(reduction === undefined ? {} : { reduction }),
  };
  if (typeof wanted !== 'string' && Object.keys(executorOptions).length > 0) {
    throw new QuaverError('executor-option', 'threads and reduction are chosen when an executor is opened', {
      hint: 'Give them to openExecutor, or name the executor by its id.',
      where: { executor: wanted.id },
    });
  }
  const ready = isCompiled(module)
    ? module
    : (await compileModel(module, { recipe, ...(signal ? { signal } : {}) })).module;
  const owned = typeof wanted === 'string';
  const executor = owned
    ? await (executors ?? executorRegistry()).open(wanted, { ...executorOptions, ...(signal ? { signal } : {}) })
    : wanted;
  try {
    const session = await Session.open(ready, executor, sessionOptions);
    return new ModelSession(session, recipeOf(ready)!, owned);
  } catch (error) {
    if (owned) await executor[Symbol.asyncDispose]();
    throw error;
  }
}
