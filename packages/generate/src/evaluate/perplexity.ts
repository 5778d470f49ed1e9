import type { Session } from '@quaver/executor';
import { QuaverError } from '@quaver/numerics';
import { ModelCalls } from '../model-calls.ts';
import { modelLimits } from '../model-limits.ts';

export interface PerplexityOptions {
  /**
   * Tokens of one window, at least 2; at most the model's context, which it is cut to. Default 2048. Windows do not
   * overlap; each starts without a past.
   */
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

/** Tokens per call: bounds memory, and lets progress through. */
const chunk = 128;

/**
 * Perplexity of a token sequence under the generation functions of a module (`score`).
 * @throws QuaverError `text-too-short`, `perplexity-window`, `logprobs-not-finite`, `aborted`, and what the session throws
 */
export async function perplexity(
  session: Session,
  tokens: readonly number[],
  options: PerplexityOptions = {},
): Promise<Perplexity> {
  const { signal, onProgress } = options;
  const window = checkWindow(options.window ?? 2048, modelLimits(session.module).context);
  if (tokens.length < 2) {
    throw new QuaverError('text-too-short', `${tokens.length} tokens: nothing to predict`, {
      hint: 'Perplexity needs at least two tokens.',
    });
  }
  let sum = 0;
  let scoredTokens = 0;
  const totalTokens = tokens.length - Math.ceil(tokens.length / window);
  for (let from = 0; from < tokens.length; from += window) {
    for await (const logprobs of scoreWindow(session, tokens.slice(from, from + window), signal)) {
      for (const logprob of logprobs) sum -= logprob;
      scoredTokens += logprobs.length;
      onProgress?.({ phase: 'perplexity', scoredTokens, totalTokens });
    }
  }
  if (Number.isNaN(sum)) {
    throw new QuaverError('logprobs-not-finite', 'a log-probability of the text is not a number', {
      hint: 'Weights or activations are out of range: look at the compile report, or try the recipe bf16.',
    });
  }
  const nll = sum / scoredTokens;
  return { tokens: scoredTokens, perplexity: Math.exp(nll), nll };
}

function checkWindow(window: number, context: number): number {
  if (Number.isInteger(window) && window >= 2 && context >= 2) return Math.min(window, context);
  throw new QuaverError('perplexity-window', `windows of ${window} tokens in a context of ${context}`, {
    hint: 'A window is an integer of at least 2: something to predict, and something to predict it from.',
  });
}

/** Log-probabilities of tokens 1… of one sequence, in pieces. */
async function* scoreWindow(
  session: Session,
  tokens: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Float32Array, void, undefined> {
  const predicted = tokens.length - 1;
  // The last window may hold one token, which nothing predicts.
  if (predicted === 0) return;
  const state = session.createState({ B: 1, C: predicted });
  try {
    const calls = new ModelCalls(session, signal);
    for (let from = 0; from < predicted; from += chunk) {
      const end = Math.min(predicted, from + chunk);
      const [logprobs] = await calls.score(state, [tokens.slice(from, end)], [tokens.slice(from + 1, end + 1)], [from]);
      yield logprobs!;
    }
  } finally {
    state.dispose();
  }
}
