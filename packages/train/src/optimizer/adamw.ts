import { coreOps } from '@quaver/ir';
import { checkAmount, checkShare, type Optimizer } from './optimizer.ts';

export interface AdamWOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
}

/**
 * AdamW (Loshchilov and Hutter, 2019), as the op `adamw_step` defines it: weight decay apart from the gradient.
 * @throws QuaverError `optimizer-option`
 */
export function adamw({ beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0 }: AdamWOptions = {}): Optimizer {
  checkShare('adamw', { beta1, beta2 });
  checkAmount('adamw', { eps, weightDecay });
  return {
    name: 'adamw',
    states: (shape) => ({ m: shape, v: shape }),
    scalars: (step) => ({ correction1: 1 - beta1 ** step, correction2: 1 - beta2 ** step }),
    step(g, { parameter, gradient, rate, states, scalars }) {
      const operands = [parameter, gradient, states.m, states.v, rate, scalars.correction1, scalars.correction2];
      const attributes = { beta1, beta2, eps, weight_decay: weightDecay };
      const [moved, m, v] = g.apply(coreOps.latest('core', 'adamw_step'), operands, attributes);
      return { parameter: moved!, states: { m: m!, v: v! } };
    },
  };
}
