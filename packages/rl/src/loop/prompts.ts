import { modelLimits, type RolloutRequest, type Tokenizer } from '@quaver/generate';
import type { Module } from '@quaver/ir';
import { QuaverError } from '@quaver/numerics';
import type { EvaluateConfig, RolloutConfig } from '../config/config-types.ts';
import type { RlProblem } from '../tasks/environment.ts';

/** Makes requests of problems: the chat template's tokens, and the keys of their draws. */
export class Prompts {
  readonly #tokenizer: Tokenizer;
  readonly #context: number;
  readonly #capacity: number;
  readonly #rollout: RolloutConfig;
  readonly #seed: number;

  /** @param capacity of the engine */
  constructor(module: Module, tokenizer: Tokenizer, rollout: RolloutConfig, seed: number, capacity: number) {
    this.#tokenizer = tokenizer;
    this.#context = modelLimits(module).context;
    this.#capacity = capacity;
    this.#rollout = rollout;
    this.#seed = seed;
  }

  /**
   * The request for the samples of a problem. Draws follow from (seed, step, index of the prompt in the step, sample): each sample
   * can be made again by itself.
   * @param id of the request
   * @param draws the step, and the index of the prompt in it
   * @throws QuaverError `rl-prompt-too-long`
   */
  sampled(problem: RlProblem, id: number, draws: readonly [step: number, index: number]): RolloutRequest {
    const { samples, temperature, top_k: topK, top_p: topP } = this.#rollout;
    return { ...this.#request(problem, id), samples, temperature, topK, topP, key: [this.#seed, ...draws] };
  }

  /** The request for answers that only show how good the policy is: the same draws in every evaluation. @throws QuaverError `rl-prompt-too-long` */
  evaluated(
    problem: RlProblem,
    index: number,
    options: Pick<EvaluateConfig, 'samples' | 'temperature'>,
  ): RolloutRequest {
    const { samples, temperature } = options;
    return { ...this.#request(problem, index), samples, temperature, key: [this.#seed, 0, index] };
  }

  #request(problem: RlProblem, id: number): Pick<RolloutRequest, 'id' | 'prompt' | 'maxNewTokens'> {
    const text = this.#tokenizer.applyChatTemplate(problem.messages);
    const prompt = this.#tokenizer.encode(text, { special: false });
    const { max_new_tokens: maxNewTokens } = this.#rollout;
    if (prompt.length < this.#capacity) return { id, prompt, maxNewTokens };
    const isCacheShort = this.#capacity < this.#context;
    throw new QuaverError(
      'rl-prompt-too-long',
      `problem '${problem.id}' has ${prompt.length} tokens, ${isCacheShort ? 'the KV cache holds' : 'the context of the model is'} ${this.#capacity}`,
      {
        hint: isCacheShort
          ? 'Raise rollout.cache_tokens, or leave long problems out.'
          : 'Leave long problems out, or import the model with a longer context.',
        where: { problem: problem.id },
      },
    );
  }
}
