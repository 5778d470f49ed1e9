import type { GradientProduct } from '../autodiff/gradient-marks.ts';
import {
  describeQuantization,
  type HighPrecision,
  type LinearPrecision,
  type Quantization,
  type QuantizedLinear,
} from './recipe.ts';

/** How the two operands of a product are quantized: the one with rows of tokens or outputs first, as reports print them. */
export interface ProductQuantization {
  readonly lhs: Quantization;
  readonly rhs: Quantization;
}

/** What a linear precision says about one of its products: input x weight, grad_output x weight, or grad_output x input. */
export function productPrecision(
  linear: LinearPrecision,
  product: 'fprop' | GradientProduct,
): HighPrecision | ProductQuantization {
  if (typeof linear === 'string') return linear;
  if (product === 'fprop') return { lhs: linear.input, rhs: linear.weight };
  return product === 'dgrad' ? dgrad(linear) : wgrad(linear);
}

function dgrad({ dgrad: change = {}, grad_output, weight }: QuantizedLinear): HighPrecision | ProductQuantization {
  if (typeof change === 'string') return change;
  return { lhs: change.grad_output ?? grad_output, rhs: change.weight ?? weight };
}

function wgrad({ wgrad: change = {}, grad_output, input }: QuantizedLinear): HighPrecision | ProductQuantization {
  if (typeof change === 'string') return change;
  return { lhs: change.grad_output ?? grad_output, rhs: change.input ?? input };
}

export function describeProduct({ lhs, rhs }: ProductQuantization): string {
  return `${describeQuantization(lhs)} x ${describeQuantization(rhs)}`;
}
