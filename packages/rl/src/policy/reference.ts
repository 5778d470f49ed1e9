/** @file The reference policy: the weights before the first step, which the KL penalty keeps the policy close to. */
import { type Executor, Session } from '@quaver/executor';
import { ModelCalls } from '@quaver/generate';
import { findFunction } from '@quaver/ir';
import type { TrainingSession } from '@quaver/train';
import type { SequenceBatch } from './batches.ts';

const functionName = 'logprobs';

export class ReferencePolicy implements AsyncDisposable {
  readonly #session: Session;
  readonly #calls: ModelCalls;

  private constructor(session: Session) {
    this.#session = session;
    this.#calls = new ModelCalls(session);
  }

  /** Takes a copy of the weights that a policy has now. @throws QuaverError `session-…`, `executor-…` */
  static async copy(policy: TrainingSession, executor: Executor): Promise<ReferencePolicy> {
    const { module, changing } = policy;
    const read = new Set(findFunction(module, functionName)?.parameters.map(({ ref }) => ref));
    const copied = changing.filter((name) => read.has(name));
    const session = await Session.open(module, executor, { functions: [functionName], computed: copied });
    try {
      for (const name of copied) await session.writeParameter(name, await policy.session.readParameter(name));
      return new ReferencePolicy(session);
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The log-probabilities of the targets, [rows, rowTokens]. */
  async logprobs({ rows, rowTokens, tokens, targets }: SequenceBatch): Promise<Float32Array> {
    const rowsOf = (values: Int32Array) =>
      Array.from({ length: rows }, (_, row) => [...values.subarray(row * rowTokens, (row + 1) * rowTokens)]);
    const found = await this.#calls.logprobs(rowsOf(tokens), rowsOf(targets));
    const out = new Float32Array(rows * rowTokens);
    for (const [row, values] of found.entries()) out.set(values, row * rowTokens);
    return out;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]();
  }
}
