import { QuaverError } from '@quaver/numerics';
import { checkPrompt } from '../check-prompt.ts';
import type { ModelLimits } from '../model-limits.ts';
import { type ResolvedSampling, resolveSampling } from '../sampling/sampler.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { drawKey, keyOf } from './draw-key.ts';
import { Sequence } from './sequence.ts';
import type { RequestId, RolloutRequest } from './types.ts';

/** What requests are held to. */
export interface RequestContext {
  readonly limits: ModelLimits;
  /** Positions that one sequence may have: what the model and the cache allow. */
  readonly capacity: number;
  readonly seed: number;
  readonly tokenizer: Tokenizer | undefined;
}

/** A request under way: its samples, and the pages of the prompt that they share. */
export class RequestGroup {
  readonly id: RequestId;
  readonly prompt: readonly number[];
  readonly sampling: ResolvedSampling;
  readonly ends: ReadonlySet<number>;
  readonly stop: readonly string[];
  readonly wantedTokens: number;
  readonly topLogprobs: number;
  readonly capacity: number;
  readonly tokenizer: Tokenizer | undefined;
  /** When it was taken, in milliseconds. */
  readonly arrival: number;
  readonly sequences: readonly Sequence[];
  /** Samples that have not ended. */
  open: number;
  /** Samples that hold pages. */
  running = 0;
  /** The prompt's full pages, once computed: the group uses them itself, so that samples can come and go. */
  prefix: readonly number[] | undefined;
  /** The sample that computes the prompt; the others wait for it. */
  leader: Sequence | undefined;
  /** All samples have their first token. */
  drawn = false;

  /**
   * @param order of its first sample among all sequences of the run
   * @throws QuaverError `prompt-empty`, `prompt-too-long`, `prompt-token-range`, `sampling-invalid`, `rollout-key-invalid`,
   *   `rollout-tokenizer-missing`
   */
  constructor(request: RolloutRequest, context: RequestContext, order: number, arrival: number) {
    const { id, prompt, samples = 1, maxNewTokens = 256, stop = [], topLogprobs = 0 } = request;
    checkPrompt(prompt, context.limits);
    checkFits(prompt, context);
    checkCount('samples', samples, 1);
    checkCount('maxNewTokens', maxNewTokens, 0);
    checkCount('topLogprobs', topLogprobs, 0);
    this.id = id;
    this.prompt = prompt;
    this.sampling = resolveSampling(request);
    this.ends = new Set(request.eosTokenIds ?? context.limits.eosTokenIds);
    this.stop = (typeof stop === 'string' ? [stop] : stop).filter((text) => text !== '');
    this.wantedTokens = maxNewTokens;
    this.topLogprobs = Math.min(topLogprobs, context.limits.vocabSize);
    this.capacity = context.capacity;
    this.tokenizer = context.tokenizer;
    this.arrival = arrival;
    this.open = samples;
    if (this.stop.length > 0 && !this.tokenizer) throw tokenizerMissing();
    const names = [context.seed, this.sampling.seed, ...keyOf(id, request.key)];
    this.sequences = Array.from(
      { length: samples },
      (_, sample) => new Sequence(this, sample, order + sample, drawKey([...names, sample])),
    );
  }

  /** Tokens in the prompt's full pages. */
  sharedTokens(pageTokens: number): number {
    return this.prompt.length - (this.prompt.length % pageTokens);
  }
}

function checkFits(prompt: readonly number[], { capacity }: RequestContext): void {
  if (prompt.length < capacity) return;
  throw new QuaverError(
    'prompt-too-long',
    `the prompt has ${prompt.length} tokens, the cache of the engine ${capacity}`,
    {
      hint: 'Open the engine with more cacheTokens, or shorten the prompt.',
    },
  );
}

function checkCount(option: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new QuaverError('sampling-invalid', `${option} is ${value}, expected an integer of at least ${least}`, {
    where: { option },
  });
}

function tokenizerMissing(): QuaverError {
  return new QuaverError('rollout-tokenizer-missing', 'stop strings need a tokenizer, and the engine has none', {
    hint: 'Open the engine with the option `tokenizer`.',
    where: { option: 'stop' },
  });
}
