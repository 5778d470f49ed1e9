import { checkAmount, checkShare, type Optimizer } from './optimizer.ts';
import { descend, times } from './steps.ts';

export interface SgdOptions {
  readonly momentum?: number;
  /** Look ahead along the momentum (Sutskever et al., 2013). */
  readonly nesterov?: boolean;
  readonly weightDecay?: number;
}

/**
 * Gradient descent with momentum: v = momentum * v + g, then p -= rate * (v + weightDecay * p).
 * @throws QuaverError `optimizer-option`
 */
export function sgd({ momentum = 0, nesterov = false, weightDecay = 0 }: SgdOptions = {}): Optimizer {
  checkShare('sgd', { momentum });
  checkAmount('sgd', { weightDecay });
  return {
    name: 'sgd',
    states: (shape): Record<string, readonly number[]> => (momentum === 0 ? {} : { velocity: shape }),
    scalars: () => ({}),
    step(g, { parameter, gradient, rate, states }) {
      if (momentum === 0) return { parameter: descend(g, parameter, rate, gradient, weightDecay), states: {} };
      const velocity = g.op('add', [times(g, states.velocity!, momentum), gradient]);
      const direction = nesterov ? g.op('add', [gradient, times(g, velocity, momentum)]) : velocity;
      return { parameter: descend(g, parameter, rate, direction, weightDecay), states: { velocity } };
    },
  };
}
