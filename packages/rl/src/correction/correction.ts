/**
 * @file What makes up for tokens that another policy generated than the one that is trained: other weights, other
 * kernels, another precision. A correction is a number for every token, from its log-probability p in training and g
 * in generation; the policy term of the loss is multiplied by it, outside of what is clipped. What an algorithm
 * divides by stays: dropped tokens count as zeros.
 */
import type { JsonValue } from '@quaver/formats';
import { QuaverError } from '@quaver/numerics';
import { z } from 'zod';
import { type Conflict, refusing } from '../option-conflicts.ts';

export interface SequenceCorrection {
  /** By token. */
  readonly weights: Float32Array;
  /** Tokens whose ratio was larger than their weight. */
  readonly truncated: number;
}

/** From log p − log g of the tokens of one sequence, at least one, all finite. */
export type CorrectionRule = (logRatios: Float64Array) => SequenceCorrection;

export interface Correction {
  readonly name: string;
  /** What it is and who described it, in a line. */
  readonly summary: string;
  /** Options with their values where none are given. */
  readonly defaults: Readonly<Record<string, JsonValue>>;
  /** Of the options and the name. */
  readonly schema: z.ZodType;
  /** The rule of options that fit the schema. */
  rule(options: unknown): CorrectionRule;
}

interface Definition<S extends z.ZodRawShape> {
  readonly name: string;
  readonly summary: string;
  /** Each has a default. */
  readonly options: S;
  /** Options that do not go together. */
  readonly conflict?: (options: z.output<z.ZodObject<S>>) => Conflict | undefined;
  build(options: z.output<z.ZodObject<S>>): CorrectionRule;
}

export function defineCorrection<S extends z.ZodRawShape>(definition: Definition<S>): Correction {
  const { name, summary, options, conflict, build } = definition;
  const own = z.object(options);
  return {
    name,
    summary,
    defaults: own.parse({}) as Readonly<Record<string, JsonValue>>,
    schema: refusing(z.strictObject({ name: z.literal(name), ...options }), own, (values) => conflict?.(values)),
    rule: (source) => build(own.parse(source)),
  };
}

/**
 * p − g of the tokens of a sequence.
 * @throws QuaverError `mismatch-length`, `rl-logprob-not-finite`
 */
export function logRatios(train: ArrayLike<number>, generation: ArrayLike<number>): Float64Array {
  if (train.length !== generation.length) {
    throw new QuaverError(
      'mismatch-length',
      `correction: expected ${generation.length} training log-probs as in generation, found ${train.length}`,
      { hint: 'Both phases must score the same tokens.' },
    );
  }
  return Float64Array.from({ length: train.length }, (_, t) => {
    const difference = train[t]! - generation[t]!;
    if (Number.isFinite(difference)) return difference;
    throw new QuaverError(
      'rl-logprob-not-finite',
      `token ${t} has log-probability ${train[t]} in training and ${generation[t]} in generation`,
      {
        hint: 'The weights may have diverged: lower the rate, or resume from an earlier checkpoint.',
        where: { token: t },
      },
    );
  });
}

export function sumOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}

export function sameWeight(tokens: number, weight: number): Float32Array {
  return new Float32Array(tokens).fill(weight);
}
