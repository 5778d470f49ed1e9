import type { GraphBuilder, Value } from '@quaver/ir';
import { type AdamWOptions, adamw } from './adamw.ts';
import { checkAmount, checkOption, checkShare, type Optimizer } from './optimizer.ts';
import { descend, movingAverage, spread, sumOfSquares, times } from './steps.ts';

export interface MuonOptions {
  readonly momentum?: number;
  /** Steps of the Newton-Schulz iteration. */
  readonly iterations?: number;
  readonly eps?: number;
  readonly weightDecay?: number;
  /** For parameters that are no matrices. */
  readonly adamw?: AdamWOptions;
}

/** Coefficients of x, x³ and x⁵ that pull all singular values towards 1 fast, if not all the way. */
const quintic = [3.4445, -4.775, 2.0315] as const;

/**
 * Muon (Jordan et al., 2024): the momentum of a matrix, with all singular values brought near 1, is the update; it is larger by
 * √(rows / columns) for tall matrices. What is no matrix goes through AdamW; so should embeddings and the head, which only the caller
 * knows by name.
 * @throws QuaverError `optimizer-option`
 */
export function muon(options: MuonOptions = {}): Optimizer {
  const { momentum = 0.95, iterations = 5, eps = 1e-8, weightDecay = 0 } = options;
  checkShare('muon', { momentum });
  checkAmount('muon', { eps, weightDecay });
  const whole = Number.isInteger(iterations) && iterations >= 1 && iterations <= 20;
  checkOption('muon', 'iterations', iterations, whole, 'a whole number from 1 to 20');
  const other = adamw(options.adamw);
  const isMatrix = (shape: readonly unknown[]) => shape.length === 2;
  return {
    name: 'muon',
    states: (shape) => (isMatrix(shape) ? { momentum: shape } : other.states(shape)),
    scalars: other.scalars,
    step(g, inputs) {
      const { parameter, gradient, rate, states } = inputs;
      if (!isMatrix(parameter.type.shape)) return other.step(g, inputs);
      const average = movingAverage(g, states.momentum!, gradient, momentum);
      const ahead = movingAverage(g, average, gradient, momentum);
      const [rows, columns] = parameter.type.shape as readonly [number, number];
      const update = times(g, orthogonalized(g, ahead, iterations, eps), Math.sqrt(Math.max(1, rows / columns)));
      return { parameter: descend(g, parameter, rate, update, weightDecay), states: { momentum: average } };
    },
  };
}

/** x with singular values near 1, by X ← aX + bX(XᵀX) + cX(XᵀX)² from x / |x|; the smaller of XᵀX and XXᵀ is formed. */
function orthogonalized(g: GraphBuilder, x: Value, iterations: number, eps: number): Value {
  const [rows, columns] = x.type.shape as readonly [number, number];
  const tall = rows > columns;
  const norm = g.op('add', [g.op('sqrt', [sumOfSquares(g, x)]), g.constant(eps)]);
  let wide = g.op('divide', [x, spread(g, norm, x)]);
  if (tall) wide = g.op('transpose', [wide], { permutation: [1, 0] });
  const [a, b, c] = quintic;
  for (let i = 0; i < iterations; i++) {
    const gram = g.op('dot_general', [wide, wide], { lhs_contract: [1], rhs_contract: [1] });
    const square = g.op('dot_general', [gram, gram], { lhs_contract: [1], rhs_contract: [0] });
    const polynomial = g.op('add', [times(g, gram, b), times(g, square, c)]);
    const bent = g.op('dot_general', [polynomial, wide], { lhs_contract: [1], rhs_contract: [0] });
    wide = g.op('add', [times(g, wide, a), bent]);
  }
  return tall ? g.op('transpose', [wide], { permutation: [1, 0] }) : wide;
}
