import type { Session, SessionState } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { resolveSampling, type SamplingOptions, sampleToken } from './sampling/sampler.ts';
import { f32Row, perSequence, tokenMatrix } from './sequence.ts';
import { StopStrings } from './text/stop-strings.ts';
import { StreamDecoder } from './text/stream-decoder.ts';
import type { Tokenizer } from './text/tokenizer.ts';

/** Why a generation ended. */
export type StopReason = 'eos' | 'stop_string' | 'max_new_tokens' | 'context';

export interface GenerateRequest extends SamplingOptions {
  /** Token ids of the prompt; at least one. */
  readonly prompt: readonly number[];
  readonly maxNewTokens?: number;
  /** Text that ends the generation; it is not part of the result. */
  readonly stop?: readonly string[];
  /** Ids that end the generation; default those of the model. */
  readonly eosTokenIds?: readonly number[];
  /** Also give the log-probability of every prompt token after the first. */
  readonly promptLogprobs?: boolean;
  readonly signal?: AbortSignal;
}

/** What a generation reports while it runs. */
export type GenerateEvent =
  | { readonly type: 'prefill'; readonly processedTokens: number; readonly totalTokens: number }
  | {
      readonly type: 'token';
      readonly token: number;
      /** Natural log of the model's probability of the token: temperature and filters do not change it. */
      readonly logprob: number;
      /** Text that became certain with this token; empty while a character or a stop string is unfinished. */
      readonly text: string;
    }
  | ({ readonly type: 'end' } & GenerateResult);

export interface GenerateResult {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly logprobs: readonly number[];
  readonly promptLogprobs: readonly number[] | undefined;
  readonly stopReason: StopReason;
  readonly promptTokens: number;
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
}

/** Prompt tokens per call: bounds memory, and lets an abort through. */
const prefillChunk = 128;

/**
 * Generates one continuation, event by event; the last event is `end`. The KV cache is allocated once, for the prompt
 * and `maxNewTokens`.
 * @throws QuaverError `prompt-empty`, `prompt-too-long`, `prompt-token-range`, `sampling-invalid`, `aborted`
 */
export async function* generate(
  session: Session,
  tokenizer: Tokenizer,
  request: GenerateRequest,
): AsyncGenerator<GenerateEvent, void, undefined> {
  const sampling = resolveSampling(request);
  const { context, vocabSize, eosTokenIds } = modelLimits(session);
  const { prompt, signal } = request;
  const maxNewTokens = checkRequest(request, context, vocabSize);
  const ends = new Set(request.eosTokenIds ?? eosTokenIds);
  const state = session.createState({ B: 1, C: Math.min(context, prompt.length + maxNewTokens) });
  try {
    const clock = new PhaseClock();
    const prefill = new Prefill(session, state, request);
    for await (const processedTokens of prefill.run()) {
      yield { type: 'prefill', processedTokens, totalTokens: prompt.length };
    }
    clock.prefillDone();
    const decoder = new StreamDecoder(tokenizer);
    const stops = new StopStrings(request.stop ?? []);
    const tokens: number[] = [];
    const logprobs: number[] = [];
    let text = '';
    let { logits, logprobRow } = prefill.last();
    let stopReason: StopReason | undefined = maxNewTokens === 0 ? 'max_new_tokens' : undefined;
    while (!stopReason) {
      const token = sampleToken(logits, [...prompt, ...tokens], sampling, 0, tokens.length);
      const logprob = logprobRow[token]!;
      tokens.push(token);
      logprobs.push(logprob);
      const isEnd = ends.has(token);
      const scan = isEnd ? { text: '', stopped: false } : stops.push(decoder.push(token));
      text += scan.text;
      yield { type: 'token', token, logprob, text: scan.text };
      if (isEnd) stopReason = 'eos';
      else if (scan.stopped) stopReason = 'stop_string';
      else if (tokens.length === maxNewTokens) {
        stopReason = prompt.length + tokens.length >= context ? 'context' : 'max_new_tokens';
      } else {
        const position = prompt.length + tokens.length - 1;
        const inputs = { tokens: tokenMatrix([[token]], 1), position: perSequence([position]) };
        const outputs = await session.run('decode', inputs, { state, ...(signal ? { signal } : {}) });
        logits = f32Row(outputs.logits!, 0);
        logprobRow = f32Row(outputs.logprobs!, 0);
      }
    }
    if (stopReason !== 'stop_string') {
      const scan = stops.push(decoder.flush());
      text += scan.text + (scan.stopped ? '' : stops.flush());
    }
    yield {
      type: 'end',
      text,
      tokens,
      logprobs,
      promptLogprobs: prefill.promptLogprobs,
      stopReason,
      promptTokens: prompt.length,
      prefillTokensPerSecond: prompt.length / clock.prefillSeconds,
      decodeTokensPerSecond: clock.rate(tokens.length - 1),
    };
  } finally {
    state.dispose();
  }
}

/** Context length, vocabulary and end-of-text ids that a module's metadata state. */
export function modelLimits(session: Session): { context: number; vocabSize: number; eosTokenIds: readonly number[] } {
  const { metadata, name } = session.module;
  const number = (key: string) => {
    const value = Number(metadata[key]);
    if (Number.isInteger(value) && value > 0) return value;
    throw new QuaverError('module-not-a-language-model', `module '${name}' does not say its '${key}'`, {
      hint: 'Generation needs a module made by `quaver import`.',
    });
  };
  const eos: unknown = JSON.parse(metadata['model.eos_token_ids'] ?? '[]');
  return {
    context: number('model.context'),
    vocabSize: number('model.vocab_size'),
    eosTokenIds: Array.isArray(eos) ? eos.filter((id): id is number => Number.isInteger(id)) : [],
  };
}

/** Checks the prompt and gives how many tokens may follow it. */
function checkRequest(request: GenerateRequest, context: number, vocabSize: number): number {
  const { prompt, maxNewTokens = 256 } = request;
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 0) {
    throw new QuaverError('sampling-invalid', `maxNewTokens is ${maxNewTokens}, expected an integer of at least 0`);
  }
  if (prompt.length === 0) {
    throw new QuaverError('prompt-empty', 'the prompt has no tokens', { hint: 'Give at least one word.' });
  }
  if (prompt.length >= context) {
    throw new QuaverError('prompt-too-long', `the prompt has ${prompt.length} tokens, the context ${context}`, {
      hint: `Shorten it to at most ${context - 1} tokens, or import the model with a longer context.`,
    });
  }
  const bad = prompt.find((token) => !(Number.isInteger(token) && token >= 0 && token < vocabSize));
  if (bad !== undefined) {
    throw new QuaverError('prompt-token-range', `token ${bad} is not one of the model's ${vocabSize}`, {
      hint: 'Does the tokenizer belong to this model?',
    });
  }
  return Math.min(maxNewTokens, context - prompt.length);
}

/** Runs the prompt through the model in chunks. */
class Prefill {
  promptLogprobs: number[] | undefined;
  readonly #session: Session;
  readonly #state: SessionState;
  readonly #request: GenerateRequest;
  #last: { logits: Float32Array; logprobRow: Float32Array } | undefined;

  constructor(session: Session, state: SessionState, request: GenerateRequest) {
    this.#session = session;
    this.#state = state;
    this.#request = request;
    if (request.promptLogprobs) this.promptLogprobs = [];
  }

  /** The rows for the token after the prompt. */
  last(): { logits: Float32Array; logprobRow: Float32Array } {
    return this.#last!;
  }

  async *run(): AsyncGenerator<number, void, undefined> {
    const { prompt, signal } = this.#request;
    const options = { state: this.#state, ...(signal ? { signal } : {}) };
    // With log-probs the last token goes through `prefill` alone, everything before through `score`.
    const scored = this.promptLogprobs ? prompt.length - 1 : 0;
    for (let from = 0; from < scored; from += prefillChunk) {
      const end = Math.min(scored, from + prefillChunk);
      const inputs = {
        tokens: tokenMatrix([prompt.slice(from, end)], end - from),
        targets: tokenMatrix([prompt.slice(from + 1, end + 1)], end - from),
        position: perSequence([from]),
      };
      const { logprobs } = await this.#session.run('score', inputs, options);
      this.promptLogprobs!.push(...(logprobs!.data as Float32Array));
      yield end;
    }
    for (let from = scored; from < prompt.length; from += prefillChunk) {
      const chunk = prompt.slice(from, from + prefillChunk);
      const inputs = {
        tokens: tokenMatrix([chunk], chunk.length),
        position: perSequence([from]),
        last: perSequence([chunk.length - 1]),
      };
      const isLast = from + prefillChunk >= prompt.length;
      const outputs = await this.#session.run('prefill', inputs, { ...options, ...(isLast ? {} : { outputs: [] }) });
      if (isLast) this.#last = { logits: f32Row(outputs.logits!, 0), logprobRow: f32Row(outputs.logprobs!, 0) };
      yield from + chunk.length;
    }
  }
}

/** Wall time of the two phases. */
class PhaseClock {
  readonly #start = performance.now();
  #prefillEnd = this.#start;

  prefillDone(): void {
    this.#prefillEnd = performance.now();
  }

  get prefillSeconds(): number {
    return (this.#prefillEnd - this.#start) / 1000;
  }

  /** Decode calls per second; 0 when there was none. */
  rate(calls: number): number {
    return calls > 0 ? calls / ((performance.now() - this.#prefillEnd) / 1000) : 0;
  }
}
