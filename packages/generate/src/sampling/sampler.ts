import { QuaverError, uniform } from '@quaver/numerics';
import { drawToken } from './draw-token.ts';

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
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
  const resolved = { temperature, topK, topP, minP, repetitionPenalty, seed };
  const check = (name: keyof ResolvedSampling, ok: boolean, expected: string) => {
    if (ok) return;
    throw new QuaverError('sampling-invalid', `${name} is ${resolved[name]}, expected ${expected}`, {
      hint: 'Leave it out to turn it off.',
      where: { option: name },
    });
  };
  check('temperature', temperature >= 0 && Number.isFinite(temperature), 'a number of at least 0');
  check('topK', Number.isInteger(topK) && topK >= 0, 'an integer of at least 0');
  check('topP', topP > 0 && topP <= 1, 'a number above 0 and up to 1');
  check('minP', minP >= 0 && minP < 1, 'a number from 0 up to 1, 1 excluded');
  check('repetitionPenalty', repetitionPenalty > 0 && Number.isFinite(repetitionPenalty), 'a positive number');
  check('seed', Number.isSafeInteger(seed) && seed >= 0, 'a non-negative integer');
  return resolved;
}

/**
 * Chooses a token from one row of logits: repetition penalty, temperature, min-p, top-k, then top-p of what is left.
 * @param logits f32 [V]; not changed
 * @param history tokens of the sequence so far, for the repetition penalty
 * @param stream which sequence of the run this is, @param step which token of it: together with the seed they fix the draw
 * @throws QuaverError `logits-not-finite` when a logit is NaN or +∞, or all are -∞
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
  return drawToken(row, row[best]!, options, uniform(options.seed, stream, step));
}

/** The highest logit; the lowest id among equals. */
function argmax(row: Float32Array): number {
  let best = -1;
  let maximum = Number.NEGATIVE_INFINITY;
  for (let token = 0; token < row.length; token++) {
    const value = row[token]!;
    // One comparison for almost every token of the vocabulary; a NaN fails it, too.
    if (value <= maximum) continue;
    if (Number.isNaN(value)) throw notFinite(`the logit of token ${token} is NaN`);
    maximum = value;
    best = token;
  }
  if (!Number.isFinite(maximum)) throw notFinite(`the highest logit is ${maximum}`);
  return best;
}

function notFinite(what: string): QuaverError {
  return new QuaverError('logits-not-finite', `the next token cannot be chosen: ${what}`, {
    hint: 'Weights or activations are out of range: look at the compile report, or try the recipe bf16.',
  });
}

function penalized(logits: Float32Array, history: readonly number[], penalty: number): Float32Array {
  const row = logits.slice();
  for (const token of new Set(history)) {
    const value = row[token];
    if (value !== undefined) row[token] = value > 0 ? value / penalty : value * penalty;
  }
  return row;
}
