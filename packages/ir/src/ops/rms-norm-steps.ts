/** @file What rms_norm and its gradient have in common. */
import type { GraphBuilder } from '../builder.ts';
import type { Value } from '../module.ts';
import { typeError } from '../op.ts';
import type { TensorType } from '../type.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { checkAxis, checkShape, staticDim } from './shape-rules.ts';

/** Throws unless the operands of `op` fit together. */
export function checkRmsNorm(op: string, x: TensorType, weight: TensorType, eps: number): void {
  checkAxis(op, 'the last axis of x,', x.shape.length - 1, x.shape.length);
  checkShape(op, 'weight', weight, x.shape.slice(-1), 'one weight per element of the last axis of x');
  staticDim(op, 'the last axis of x', x.shape.at(-1)!);
  if (!(eps >= 0 && eps < Number.POSITIVE_INFINITY)) throw typeError(op, `eps is ${eps}`);
}

/** r = 1 / sqrt(mean(x * x) + eps), with the last axis 1, and x * r. */
export function normalize(g: GraphBuilder, x: Value, eps: number): { r: Value; normalized: Value } {
  const { shape } = x.type;
  const axis = shape.length - 1;
  const sum = g.op('reduce', [g.op('multiply', [x, x])], { kind: 'sum', axes: [axis], keep: true });
  const mean = g.op('divide', [sum, splatLike(g, staticDim('rms_norm', 'the last axis of x', shape[axis]!), sum)]);
  const root = g.op('sqrt', [g.op('add', [mean, splatLike(g, eps, mean)])]);
  const r = g.op('divide', [splatLike(g, 1, root), root]);
  return { r, normalized: g.op('multiply', [x, broadcastTo(g, r, shape)]) };
}
