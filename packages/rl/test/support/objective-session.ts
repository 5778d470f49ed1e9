/** @file An objective by itself: logits and targets in, the loss and what it changes by with the logits out. */
import { differentiate, gradientOutput } from '@quaver/compiler';
import { type Executor, Session } from '@quaver/executor';
import { GraphBuilder, type HostTensor, type Module } from '@quaver/ir';
import type { Objective } from '@quaver/train';

/** [rows, tokens] each, but the logits, which are [rows, tokens, vocabulary]. */
export interface ObjectiveCall {
  readonly shape: readonly [rows: number, tokens: number, vocabulary: number];
  readonly logits: ArrayLike<number>;
  readonly targets: ArrayLike<number>;
  readonly weights: ArrayLike<number>;
  readonly inputs: Readonly<Record<string, ArrayLike<number>>>;
}

export interface ObjectiveResult {
  readonly loss: number;
  readonly logprobs: readonly number[];
  readonly gradient: readonly number[];
}

export class ObjectiveSession implements AsyncDisposable {
  readonly #objective: Objective;
  readonly #session: Session;

  private constructor(objective: Objective, session: Session) {
    this.#objective = objective;
    this.#session = session;
  }

  static async open(objective: Objective, vocabulary: number, executor: Executor): Promise<ObjectiveSession> {
    return new ObjectiveSession(objective, await Session.open(moduleOf(objective, vocabulary), executor));
  }

  async run({ shape: [rows, tokens, vocabulary], ...values }: ObjectiveCall): Promise<ObjectiveResult> {
    const f32 = (data: ArrayLike<number>, shape = [rows, tokens]): HostTensor => ({
      type: { dtype: 'f32', shape },
      data: Float32Array.from(data),
    });
    const {
      loss,
      logprobs,
      [gradientOutput('logits')]: gradient,
    } = await this.#session.run('loss', {
      logits: f32(values.logits, [rows, tokens, vocabulary]),
      targets: { type: { dtype: 'i32', shape: [rows, tokens] }, data: Int32Array.from(values.targets) },
      weights: f32(values.weights),
      ...Object.fromEntries(this.#objective.inputs.map((name) => [name, f32(values.inputs[name]!)])),
    });
    return { loss: loss!.data[0]!, logprobs: [...logprobs!.data], gradient: [...gradient!.data] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session[Symbol.asyncDispose]();
  }
}

function moduleOf(objective: Objective, vocabulary: number): Module {
  const g = new GraphBuilder('loss');
  const logits = g.input('logits', 'f32', ['B', 'T', vocabulary]);
  const targets = g.input('targets', 'i32', ['B', 'T']);
  const weights = g.input('weights', 'f32', ['B', 'T']);
  const inputs = Object.fromEntries(objective.inputs.map((name) => [name, g.input(name, 'f32', ['B', 'T'])]));
  const logprobs = g.op('log_softmax_gather', [logits, targets]);
  g.output('logprobs', logprobs);
  g.output('loss', objective.loss(g, { logprobs, logits, weights, inputs }));
  const size = { min: 1, max: 1024, multiple: 1 };
  return {
    name: 'objective',
    symbols: [
      { name: 'B', ...size },
      { name: 'T', ...size },
    ],
    parameters: [],
    states: [],
    functions: [differentiate(g.finish(), { loss: 'loss', wrt: ['logits'] })],
    metadata: {},
    attachments: new Map(),
  };
}
