import type { Session, SessionState } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { checkPrompt } from './check-prompt.ts';
import { ModelCalls, type NextTokens } from './model-calls.ts';
import { type ModelLimits, modelLimits } from './model-limits.ts';
import { resolveSampling, type SamplingOptions, sampleToken } from './sampling/sampler.ts';
import { Stopwatch } from './stopwatch.ts';
import { TextStream } from './text/text-stream.ts';
import type { Tokenizer } from './text/tokenizer.ts';

/** Why a generation ended: an id that ends a text, a stop string, the limit that was asked for, or a full context. */
export type StopReason = 'eos' | 'stop_string' | 'max_new_tokens' | 'context';

export interface GenerateRequest extends SamplingOptions {
  /** Token ids of the prompt; at least one. */
  readonly prompt: readonly number[];
  /** Default 256. */
  readonly maxNewTokens?: number;
  /** Texts that end the generation; they are not part of the result. */
  readonly stop?: string | readonly string[];
  /** Ids that end the generation; default those of the model. */
  readonly eosTokenIds?: readonly number[];
  /** Also give the log-probability of every prompt token after the first; needs the function `score`. */
  readonly promptLogprobs?: boolean;
  readonly signal?: AbortSignal;
}

export interface PrefillEvent {
  readonly type: 'prefill';
  readonly processedTokens: number;
  readonly totalTokens: number;
}

export interface TokenEvent {
  readonly type: 'token';
  readonly token: number;
  /** Natural log of the model's probability of the token: temperature and filters do not change it. */
  readonly logprob: number;
  /** Text that became certain with this token; empty while a character or a stop string is unfinished. */
  readonly text: string;
}

export interface GenerateResult {
  /** The texts of all token events together. */
  readonly text: string;
  /** With the id that ended the text, where one did. */
  readonly tokens: readonly number[];
  readonly logprobs: readonly number[];
  /** Of prompt tokens 1…, where they were asked for. */
  readonly promptLogprobs: readonly number[] | undefined;
  readonly stopReason: StopReason;
  readonly promptTokens: number;
  readonly prefillTokensPerSecond: number;
  /** Of the tokens after the first, which comes out of the prefill; 0 when there is none. Choosing a token is part of it. */
  readonly decodeTokensPerSecond: number;
}

/** What a generation reports while it runs. */
export type GenerateEvent = PrefillEvent | TokenEvent | ({ readonly type: 'end' } & GenerateResult);

/** Prompt tokens per call: bounds memory, and lets progress through. */
const prefillChunk = 512;

/**
 * Generates one continuation, event by event; the last event is `end`. The KV cache is allocated once, for the prompt
 * and `maxNewTokens`, and given back however the generation ends, `break` included.
 * @throws QuaverError `prompt-empty`, `prompt-too-long`, `prompt-token-range`, `sampling-invalid`,
 *   `logits-not-finite`, `module-not-a-language-model`, `aborted`, and what the session throws
 */
export async function* generate(
  session: Session,
  tokenizer: Tokenizer,
  request: GenerateRequest,
): AsyncGenerator<GenerateEvent, void, undefined> {
  const limits = modelLimits(session.module);
  const calls = new ModelCalls(session, request.signal);
  const generation = new Generation(calls, tokenizer, request, limits);
  const state = session.createState({ B: 1, C: generation.capacity });
  try {
    const first = yield* generation.prefill(state);
    const stopReason = yield* generation.decode(state, first);
    yield { type: 'end', ...generation.result(stopReason) };
  } finally {
    state.dispose();
  }
}

/** A token that was chosen, and why it is the last one, if it is. */
interface Choice {
  readonly event: TokenEvent;
  readonly stopReason: StopReason | undefined;
}

/** One continuation in the making. */
class Generation {
  /** Positions of KV cache that it needs at most. */
  readonly capacity: number;
  readonly #calls: ModelCalls;
  readonly #request: GenerateRequest;
  readonly #sampling: ReturnType<typeof resolveSampling>;
  readonly #ends: ReadonlySet<number>;
  readonly #wantedTokens: number;
  readonly #sequence: number[];
  readonly #logprobs: number[] = [];
  readonly #promptLogprobs: number[] = [];
  readonly #text: TextStream;
  readonly #prefillTime = new Stopwatch();
  readonly #decodeTime = new Stopwatch();

  constructor(calls: ModelCalls, tokenizer: Tokenizer, request: GenerateRequest, limits: ModelLimits) {
    const { prompt, maxNewTokens = 256, stop = [], eosTokenIds = limits.eosTokenIds } = request;
    checkPrompt(prompt, limits);
    if (!Number.isInteger(maxNewTokens) || maxNewTokens < 0) {
      throw new QuaverError('sampling-invalid', `maxNewTokens is ${maxNewTokens}, expected an integer of at least 0`, {
        where: { option: 'maxNewTokens' },
      });
    }
    this.#calls = calls;
    this.#request = request;
    this.#sampling = resolveSampling(request);
    this.#ends = new Set(eosTokenIds);
    this.#wantedTokens = maxNewTokens;
    this.#sequence = [...prompt];
    this.#text = new TextStream(tokenizer, typeof stop === 'string' ? [stop] : stop);
    this.capacity = Math.min(limits.context, prompt.length + maxNewTokens);
  }

  /** Runs the prompt through the model in chunks; the token that follows it, if one is wanted. */
  async *prefill(state: SessionState): AsyncGenerator<PrefillEvent, Choice | undefined, undefined> {
    const { prompt, promptLogprobs } = this.#request;
    const totalTokens = prompt.length;
    // The chunk with the last token goes through `prefill`; with log-probabilities that is the last token alone.
    const last = promptLogprobs ? totalTokens - 1 : totalTokens - 1 - ((totalTokens - 1) % prefillChunk);
    for (let from = 0; from < last; from += prefillChunk) {
      const end = Math.min(last, from + prefillChunk);
      await this.#prefillTime.time(() => this.#prefillChunk(state, from, end));
      yield { type: 'prefill', processedTokens: end, totalTokens };
    }
    const choose = (next: NextTokens) => (this.#wantedTokens === 0 ? undefined : this.#choose(next));
    const first = await this.#prefillTime.time(() => this.#calls.prefill(state, [prompt.slice(last)], [last], choose));
    yield { type: 'prefill', processedTokens: totalTokens, totalTokens };
    return first;
  }

  async #prefillChunk(state: SessionState, from: number, end: number): Promise<void> {
    const { prompt, promptLogprobs } = this.#request;
    const tokens = prompt.slice(from, end);
    if (!promptLogprobs) return this.#calls.fill(state, [tokens], [from]);
    const [logprobs] = await this.#calls.score(state, [tokens], [prompt.slice(from + 1, end + 1)], [from]);
    this.#promptLogprobs.push(...logprobs!);
  }

  /** Chooses tokens until there is a reason to stop. */
  async *decode(state: SessionState, first: Choice | undefined): AsyncGenerator<TokenEvent, StopReason, undefined> {
    if (!first) return 'max_new_tokens';
    const choose = (next: NextTokens) => this.#choose(next);
    let choice = first;
    for (;;) {
      const { event, stopReason } = choice;
      yield event;
      if (stopReason) return stopReason;
      const position = this.#sequence.length - 1;
      choice = await this.#decodeTime.time(() => this.#calls.decode(state, [event.token], [position], choose));
    }
  }

  result(stopReason: StopReason): GenerateResult {
    const { prompt, promptLogprobs } = this.#request;
    return {
      text: this.#text.text,
      tokens: this.#sequence.slice(prompt.length),
      logprobs: this.#logprobs,
      promptLogprobs: promptLogprobs ? this.#promptLogprobs : undefined,
      stopReason,
      promptTokens: prompt.length,
      prefillTokensPerSecond: this.#prefillTime.rate(prompt.length),
      decodeTokensPerSecond: this.#decodeTime.rate(Math.max(0, this.#logprobs.length - 1)),
    };
  }

  #choose({ logits, logprobs }: NextTokens): Choice {
    const token = sampleToken(logits[0]!, this.#sequence, this.#sampling, 0, this.#logprobs.length);
    const logprob = logprobs[0]![token]!;
    this.#sequence.push(token);
    this.#logprobs.push(logprob);
    const isEnd = this.#ends.has(token);
    let text = isEnd ? '' : this.#text.push(token);
    let stopReason: StopReason | undefined = isEnd ? 'eos' : this.#limitReached();
    if (stopReason && !this.#text.stopped) text += this.#text.end();
    if (this.#text.stopped) stopReason = 'stop_string';
    const event: TokenEvent = { type: 'token', token, logprob, text };
    return { event, stopReason };
  }

  #limitReached(): StopReason | undefined {
    if (this.#logprobs.length === this.#wantedTokens) return 'max_new_tokens';
    return this.#sequence.length === this.capacity ? 'context' : undefined;
  }
}
