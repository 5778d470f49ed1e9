import { exp32, QuaverError } from '@quaver/numerics';
import { uniform } from './random.ts';

/** How the next token is chosen. Everything off is greedy: the highest logit, the lowest id among equals. */
export interface SamplingOptions {
  /** 0 is greedy; 1 samples the model's own distribution. */
  readonly temperature?: number;
  /** Keep the k most probable tokens; 0 keeps all. */
  readonly topK?: number;
  /** Keep the smallest set of most probable tokens whose probability reaches p; 1 keeps all. */
  readonly topP?: number;
  /** Keep tokens at least this fraction as probable as the most probable one; 0 keeps all. */
  readonly minP?: number;
  /** Divides positive and multiplies negative logits of tokens already in the sequence (Keskar et al. 2019); 1 is off. */
  readonly repetitionPenalty?: number;
  readonly seed?: number;
}

export type ResolvedSampling = Required<SamplingOptions>;

/**
 * Fills in defaults and checks ranges.
 * @throws QuaverError `sampling-invalid`
 */
export function resolveSampling(options: SamplingOptions): ResolvedSampling {
  const resolved = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 0, ...options };
  const check = (name: keyof ResolvedSampling, ok: boolean, expected: string) => {
    if (ok) return;
    throw new QuaverError('sampling-invalid', `${name} is ${resolved[name]}, expected ${expected}`, {
      where: { option: name },
    });
  };
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = resolved;
  check('temperature', temperature >= 0 && Number.isFinite(temperature), 'a number of at least 0');
  check('topK', Number.isInteger(topK) && topK >= 0, 'an integer of at least 0');
  check('topP', topP > 0 && topP <= 1, 'a number above 0 and up to 1');
  check('minP', minP >= 0 && minP < 1, 'a number from 0 up to 1, 1 excluded');
  check('repetitionPenalty', repetitionPenalty > 0 && Number.isFinite(repetitionPenalty), 'a positive number');
  check('seed', Number.isSafeInteger(seed) && seed >= 0, 'a non-negative integer');
  return resolved;
}

/**
 * Chooses a token from one row of logits.
 * @param logits f32 [V]; not changed
 * @param history tokens of the sequence so far, for the repetition penalty
 * @param stream which sequence of the run this is, @param step which token of it: together with the seed they fix the draw
 * @throws QuaverError `logits-not-finite` when no token has a finite logit
 */
export function sampleToken(
  logits: Float32Array,
  history: readonly number[],
  options: ResolvedSampling,
  stream: number,
  step: number,
): number {
  const row = options.repetitionPenalty === 1 ? logits : penalized(logits, history, options.repetitionPenalty);
  const best = argmax(row);
  if (options.temperature === 0) return best;
  const candidates = keepTopP(weighted(row, row[best]!, options), options.topP);
  const total = candidates.reduce((sum, { weight }) => sum + weight, 0);
  let left = uniform(options.seed, stream, step) * total;
  for (const { token, weight } of candidates) {
    left -= weight;
    if (left < 0) return token;
  }
  return candidates.at(-1)!.token;
}

interface Candidate {
  readonly token: number;
  readonly weight: number;
}

function argmax(row: Float32Array): number {
  let best = -1;
  for (let token = 0; token < row.length; token++) {
    const value = row[token]!;
    if (value > (best < 0 ? Number.NEGATIVE_INFINITY : row[best]!)) best = token;
  }
  if (best < 0) {
    throw new QuaverError('logits-not-finite', 'the model gave no usable logit for the next token', {
      hint: 'Weights or activations hold NaN: look at the compile report, or try the recipe bf16.',
    });
  }
  return best;
}

function penalized(logits: Float32Array, history: readonly number[], penalty: number): Float32Array {
  const row = logits.slice();
  for (const token of new Set(history)) {
    const value = row[token];
    if (value !== undefined) row[token] = value > 0 ? value / penalty : value * penalty;
  }
  return row;
}

/** Unnormalized probabilities after temperature, top-k and min-p, most probable first; equal ones by token id. */
function weighted(row: Float32Array, maximum: number, { temperature, topK, minP }: ResolvedSampling): Candidate[] {
  const candidates: Candidate[] = [];
  for (let token = 0; token < row.length; token++) {
    // exp32 and not Math.exp: the platform's may differ by an ULP, and a draw must not depend on the platform.
    const weight = exp32(Math.fround((row[token]! - maximum) / temperature));
    if (weight > 0 && weight >= minP) candidates.push({ token, weight });
  }
  candidates.sort((a, b) => b.weight - a.weight || a.token - b.token);
  return topK > 0 ? candidates.slice(0, topK) : candidates;
}

function keepTopP(candidates: readonly Candidate[], topP: number): readonly Candidate[] {
  if (topP === 1) return candidates;
  const total = candidates.reduce((sum, { weight }) => sum + weight, 0);
  let sum = 0;
  const end = candidates.findIndex(({ weight }) => {
    sum += weight;
    return sum >= topP * total;
  });
  return end < 0 ? candidates : candidates.slice(0, end + 1);
}
