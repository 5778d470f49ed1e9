import type { GraphBuilder, Value } from '@quaver/ir';
import { checkAmount, checkOption, type Optimizer, type StepInputs } from './optimizer.ts';
import { descend, spread, sumOfSquares, times } from './steps.ts';

export interface AdafactorOptions {
  /** Second moments decay by 1 - step^-decayPower. */
  readonly decayPower?: number;
  /** Added to squared gradients. */
  readonly eps?: number;
  /** Updates whose root mean square is larger are scaled down to it. */
  readonly clip?: number;
  readonly weightDecay?: number;
}

/**
 * Adafactor (Shazeer and Stern, 2018) without momentum and with the learning rate as given: the second moments of a
 * matrix are kept as the means of its rows and columns.
 * @throws QuaverError `optimizer-option`
 */
export function adafactor(options: AdafactorOptions = {}): Optimizer {
  const { decayPower = 0.8, eps = 1e-30, clip = 1, weightDecay = 0 } = options;
  checkAmount('adafactor', { decayPower, eps, weightDecay });
  checkOption('adafactor', 'clip', clip, clip > 0 && Number.isFinite(clip), 'a finite number above 0');
  return {
    name: 'adafactor',
    states: (shape): Record<string, readonly number[]> =>
      shape.length < 2 ? { v: shape } : { rows: shape.slice(0, -1), columns: [...shape.slice(0, -2), shape.at(-1)!] },
    scalars: (step) => ({ decay: 1 - step ** -decayPower }),
    step(g, inputs) {
      const { parameter, gradient, rate, scalars } = inputs;
      const squares = g.op('multiply', [gradient, gradient]);
      const raised = g.op('add', [squares, g.constant(eps, 'f32', squares.type.shape)]);
      const average = (old: Value, x: Value) => {
        const decay = spread(g, scalars.decay!, x);
        const rest = g.op('subtract', [g.constant(1, 'f32', x.type.shape), decay]);
        return g.op('add', [g.op('multiply', [decay, old]), g.op('multiply', [rest, x])]);
      };
      const { root, states } = moments(g, inputs, raised, average);
      const update = g.op('divide', [gradient, root]);
      return { parameter: descend(g, parameter, rate, clipped(g, update, clip), weightDecay), states };
    },
  };
}

/** The root of the second moments in the shape of the gradient, and the states that they are made of. */
function moments(
  g: GraphBuilder,
  { gradient, states }: StepInputs,
  squares: Value,
  average: (old: Value, x: Value) => Value,
): { root: Value; states: Record<string, Value> } {
  const { shape } = gradient.type;
  const rank = shape.length;
  if (rank < 2) {
    const v = average(states.v!, squares);
    return { root: g.op('sqrt', [v]), states: { v } };
  }
  const mean = (x: Value, axis: number, keep = false) => {
    const sum = g.op('reduce', [x], { kind: 'sum', axes: [axis], keep });
    return times(g, sum, 1 / (x.type.shape[axis] as number));
  };
  const across = (x: Value, left: readonly number[]) => g.op('broadcast_in_dim', [x], { shape, dims: left });
  const axes = shape.map((_, axis) => axis);
  const rows = average(states.rows!, mean(squares, rank - 1));
  const columns = average(states.columns!, mean(squares, rank - 2));
  // v[i, j] = rows[i] * columns[j] / mean(rows)
  const whole = mean(rows, rank - 2, true);
  const relative = g.op('divide', [
    rows,
    g.op('broadcast_in_dim', [whole], { shape: rows.type.shape, dims: axes.slice(0, -1) }),
  ]);
  const rowRoot = across(g.op('sqrt', [relative]), axes.slice(0, -1));
  const columnRoot = across(g.op('sqrt', [columns]), [...axes.slice(0, -2), rank - 1]);
  return { root: g.op('multiply', [rowRoot, columnRoot]), states: { rows, columns } };
}

/** x / max(1, rms(x) / largest) */
function clipped(g: GraphBuilder, x: Value, largest: number): Value {
  const count = x.type.shape.reduce<number>((product, dim) => product * (dim as number), 1);
  const rms = g.op('sqrt', [times(g, sumOfSquares(g, x), 1 / Math.max(1, count))]);
  const factor = g.op('maximum', [times(g, rms, 1 / largest), g.constant(1)]);
  return g.op('divide', [x, spread(g, factor, x)]);
}
