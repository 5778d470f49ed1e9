import type { Session } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { modelLimits } from '../generate.ts';
import { perSequence, tokenMatrix } from '../sequence.ts';

export interface PerplexityOptions {
  /** Tokens of one window, at most the model's context. Windows do not overlap; each starts without a past. */
  readonly window?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PerplexityProgress) => void;
}

export interface PerplexityProgress {
  readonly phase: 'perplexity';
  readonly scoredTokens: number;
  readonly totalTokens: number;
}

export interface Perplexity {
  /** Predicted tokens: all but the first of each window. */
  readonly tokens: number;
  /** exp(nll). */
  readonly perplexity: number;
  /** Mean negative natural log-likelihood per predicted token. */
  readonly nll: number;
}

const chunk = 128;

/**
 * Perplexity of a token sequence under the generation functions of a module.
 * @throws QuaverError `text-too-short`, `aborted`
 */
export async function perplexity(
  session: Session,
  tokens: readonly number[],
  options: PerplexityOptions = {},
): Promise<Perplexity> {
  const { context } = modelLimits(session);
  const window = Math.min(options.window ?? 2048, context);
  if (tokens.length < 2 || window < 2) {
    throw new QuaverError('text-too-short', `${tokens.length} tokens in windows of ${window}: nothing to predict`, {
      hint: 'Perplexity needs at least two tokens.',
    });
  }
  let sum = 0;
  let count = 0;
  const windows = Math.ceil(tokens.length / window);
  const totalTokens = tokens.length - windows;
  for (let from = 0; from < tokens.length; from += window) {
    for await (const logprobs of scoreWindow(session, tokens.slice(from, from + window), options.signal)) {
      for (const logprob of logprobs) sum -= logprob;
      count += logprobs.length;
      options.onProgress?.({ phase: 'perplexity', scoredTokens: count, totalTokens });
    }
  }
  const nll = sum / count;
  return { tokens: count, perplexity: Math.exp(nll), nll };
}

/** Log-probabilities of tokens 1… of one sequence, in pieces. */
async function* scoreWindow(
  session: Session,
  tokens: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Float32Array, void, undefined> {
  const predicted = tokens.length - 1;
  if (predicted < 1) return;
  const state = session.createState({ B: 1, C: predicted });
  try {
    for (let from = 0; from < predicted; from += chunk) {
      const end = Math.min(predicted, from + chunk);
      const inputs = {
        tokens: tokenMatrix([tokens.slice(from, end)], end - from),
        targets: tokenMatrix([tokens.slice(from + 1, end + 1)], end - from),
        position: perSequence([from]),
      };
      const { logprobs } = await session.run('score', inputs, { state, ...(signal ? { signal } : {}) });
      yield logprobs!.data as Float32Array;
    }
  } finally {
    state.dispose();
  }
}
