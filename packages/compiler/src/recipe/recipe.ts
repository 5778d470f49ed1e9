/**
 * @file Recipes: which precision each part of a model gets. A recipe is data; people write it as JSON.
 * Only the passes `annotate-precision` and `fp8-lower` read it. Executors never do.
 */

type ScaleRoundingName = 'none' | 'pow2_up' | 'pow2_nearest';

/**
 * Which elements share a scale.
 * - `tensor`: all of them; the scale is known only when the whole tensor is.
 * - `row`: those along the contracted axis.
 * - `{block: [rows, k]}`: blocks of `rows` by `k` elements, k along the contracted axis.
 * - `delayed` (inputs and gradients): all of them, with a scale from the amax history of earlier steps.
 */
export type Granularity = 'tensor' | 'row' | 'delayed' | { readonly block: readonly [number, number] };

/** How a delayed scale is taken from the history: the largest or the latest amax; the scale is 2^margin times larger. */
export interface AmaxHistory {
  readonly length: number;
  readonly algorithm: 'max' | 'most_recent';
  readonly margin: number;
}

/** How one operand of a linear layer is quantized. */
export interface Quantization {
  readonly format: 'f8e4m3fn' | 'f8e5m2';
  readonly granularity: Granularity;
  readonly scale: { readonly rounding: ScaleRoundingName; readonly dtype: 'f32' | 'f8e8m0fnu' };
  /** Only with the granularity `delayed`. */
  readonly history?: AmaxHistory | undefined;
  /** How numbers between two of the format are rounded; `stochastic` only for gradients. By default `nearest`. */
  readonly rounding?: 'nearest' | 'stochastic' | undefined;
}

/**
 * How the operands of a linear layer are quantized: forward by `input` and `weight`, backward also by `grad_output`. Each product
 * quantizes its operands along the axis that it contracts, from their high-precision values: dgrad (dy · W) along the outputs,
 * wgrad (dyᵀ · x) along the tokens. `dgrad` and `wgrad` say what is different there.
 */
export interface QuantizedLinear {
  readonly input: Quantization;
  readonly weight: Quantization;
  readonly grad_output: Quantization;
  readonly dgrad?: HighPrecision | OperandChanges<'grad_output' | 'weight'> | undefined;
  readonly wgrad?: HighPrecision | OperandChanges<'grad_output' | 'input'> | undefined;
}

export type OperandChanges<Operand extends string> = { readonly [K in Operand]?: Quantization | undefined };

export type HighPrecision = 'f32' | 'bf16';
export type LinearPrecision = HighPrecision | QuantizedLinear;
export type AttentionPrecision = 'f32' | 'bf16' | 'fp8';

/** The precision of one phase of a model's life. */
export interface PhasePrecision {
  readonly linear: LinearPrecision;
  /** Keys and values, cached or not. */
  readonly kv_cache: AttentionPrecision;
  /** Queries and probabilities. */
  readonly attention: AttentionPrecision;
}

/** Keeps the linear layers that it names out of the recipe's precision. */
export type KeepRule = { readonly precision: HighPrecision } & (
  | { readonly match: string }
  | { readonly first_layers: number }
  | { readonly last_layers: number }
);

export interface Recipe {
  readonly name: string;
  readonly description: string;
  readonly generate: PhasePrecision;
  readonly train: PhasePrecision;
  readonly keep: readonly KeepRule[];
  readonly embedding: HighPrecision;
}

export type Phase = 'generate' | 'train';
export const phases: readonly Phase[] = ['generate', 'train'];

/** True when both phases compute the same forward pass, so that their log-probabilities can be the same bits. */
export function isUnified({ generate, train }: Recipe): boolean {
  const forward = ({ linear, kv_cache, attention }: PhasePrecision) =>
    JSON.stringify([typeof linear === 'string' ? linear : [linear.input, linear.weight], kv_cache, attention]);
  return forward(generate) === forward(train);
}

/** `f8e4m3fn[1,128]`, `f8e4m3fn[tensor]`, `f8e5m2[row, stochastic]`: format and granularity in short, as in reports. */
export function describeQuantization({ format, granularity, rounding }: Quantization): string {
  const shared = typeof granularity === 'string' ? granularity : granularity.block.join(',');
  return `${format}[${shared}${rounding === 'stochastic' ? ', stochastic' : ''}]`;
}

/** A linear precision in short: `bf16`, or `f8e4m3fn[1,128] x f8e4m3fn[128,128]` (input x weight). */
export function describeLinear(linear: LinearPrecision): string {
  if (typeof linear === 'string') return linear;
  return `${describeQuantization(linear.input)} x ${describeQuantization(linear.weight)}`;
}
