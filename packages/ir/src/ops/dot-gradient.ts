import type { GraphBuilder } from '../builder.ts';
import type { Value } from '../module.ts';
import { merged, permuted, reshaped, unpermuted } from './gradient-steps.ts';
import { freeAxes } from './shape-rules.ts';

/** Which axes a dot product pairs up; see `dot_general`. */
export interface DotAxes {
  readonly lhs_contract: readonly number[];
  readonly rhs_contract: readonly number[];
  readonly lhs_batch: readonly number[];
  readonly rhs_batch: readonly number[];
}

/**
 * What the loss changes by with the operands of a dot product, as two dot products: dlhs = dy · rhs, drhs = dyᵀ · lhs. Operands
 * are f32; `dy` has the axes batch, free of lhs, free of rhs.
 */
export function dotGradients(
  g: GraphBuilder,
  lhs: Value,
  rhs: Value,
  dy: Value,
  axes: DotAxes,
  promote: number,
): { lhs: Value; rhs: Value } {
  const { lhs_contract: lc, rhs_contract: rc, lhs_batch: lb, rhs_batch: rb } = axes;
  const batch = lb.length;
  const left = [...lb, ...freeAxes(lhs.type.shape.length, lb, lc), ...lc];
  const right = [...rb, ...freeAxes(rhs.type.shape.length, rb, rc), ...rc];
  const middle = left.length - 1;
  // [batch, L, R] with [batch, R, k] and [batch, L, k]
  const products = merged(g, merged(g, dy, middle, dy.type.shape.length), batch, middle);
  const rows = (x: Value, order: readonly number[]) => merged(g, permuted(g, x, order), batch, order.length - 1);
  const batches = Array.from({ length: batch }, (_, axis) => axis);
  const dot = (contract: number, x: Value) =>
    g.op('dot_general', [products, x], {
      ...{ lhs_contract: [contract], rhs_contract: [batch], lhs_batch: batches, rhs_batch: batches },
      promote,
    });
  const back = (x: Value, like: Value, order: readonly number[]) => {
    const shape = order.map((axis) => like.type.shape[axis]!);
    return unpermuted(g, reshaped(g, x, shape), order);
  };
  return {
    lhs: back(dot(batch + 1, rows(rhs, right)), lhs, left),
    rhs: back(dot(batch, rows(lhs, left)), rhs, right),
  };
}
