import { canonicalSum } from '@quaver/numerics';
import { attribute } from '../attribute.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, type HostTensor } from '../type.ts';
import { broadcastTo, splatLike } from './body-steps.ts';
import { allocateFloats, type Floats } from './evaluation/floats.ts';
import { copyStrided, rowMajorStrides } from './evaluation/strided.ts';
import { reshaped, sumOver, where, zerosLike } from './gradient-steps.ts';
import { f32 } from './operand-specs.ts';
import { checkAxes, freeAxes } from './shape-rules.ts';

export const reduce: OpDefinition = defineOp('reduce', {
  version: 1,
  summary:
    'Sum over one axis in the canonical order of row reductions, or max/min over any axes (NaN if any is NaN). ' +
    'With keep the reduced axes stay with size 1. Nothing sums to +0; the max of nothing is -Inf.',
  operands: { x: f32 },
  attributes: {
    kind: attribute.oneOf(['sum', 'max', 'min']),
    axes: attribute.ints(),
    keep: attribute.bool(false),
  },
  results: ['y'],
  infer({ x }, { kind, axes, keep }) {
    checkAxes('reduce', 'axes', axes, x.shape.length);
    if (axes.length === 0 || (kind === 'sum' && axes.length !== 1)) {
      throw typeError(
        'reduce',
        `${kind} over axes [${axes.join(',')}]`,
        'A sum takes exactly one axis, max and min at least one.',
      );
    }
    const shape = keep
      ? x.shape.map((dim, axis) => (axes.includes(axis) ? 1 : dim))
      : x.shape.filter((_, axis) => !axes.includes(axis));
    return [{ dtype: 'f32', shape }];
  },
  flops: ({ x }) => concreteElementCount({ dtype: 'f32', shape: x.shape }),
  gradient(g, { operands: { x }, attributes: { kind, axes, keep }, results: [y], cotangents: [dy] }) {
    const { shape } = x.type;
    const kept = shape.map((_, axis) => axis).filter((axis) => keep || !axes.includes(axis));
    const spread = (value: Value) => broadcastTo(g, value, shape, kept);
    if (kind === 'sum') return { x: spread(dy!) };
    // Elements that are the extreme share the gradient.
    const one = splatLike(g, 1, x);
    const ties = where(g, [x, 'EQ', spread(y!)], one, zerosLike(g, x));
    const count = reshaped(g, sumOver(g, ties, axes), y!.type.shape);
    return { x: g.op('multiply', [ties, spread(g.op('divide', [dy!, count]))]) };
  },
  evaluate({ x }, { kind, axes }, [type]) {
    const y = allocateFloats(concreteElementCount(type!), x);
    if (kind === 'sum') sumAxis(x, axes[0]!, y);
    else {
      const rows = reducedAxesLast(x, axes);
      const length = y.length === 0 ? 0 : rows.length / y.length;
      const pick = kind === 'max' ? maxOf : minOf;
      for (let i = 0; i < y.length; i++) y[i] = pick(rows, i * length, length);
    }
    return [{ type: type!, data: y }];
  },
});

function sumAxis(x: HostTensor, axis: number, y: Floats): void {
  const { shape } = x.type;
  const length = shape[axis]!;
  const inner = shape.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const data = x.data as Floats;
  for (let i = 0; i < y.length; i++) {
    const outer = Math.floor(i / inner);
    const start = outer * length * inner + (i % inner);
    y[i] =
      data instanceof Float64Array ? realSum(data, start, length, inner) : canonicalSum(data, start, length, inner);
  }
}

function realSum(x: Float64Array, start: number, length: number, stride: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += x[start + i * stride]!;
  return sum;
}

function reducedAxesLast(x: HostTensor, axes: readonly number[]): Floats {
  const { shape } = x.type;
  const order = [...freeAxes(shape.length, axes), ...axes];
  const rows = allocateFloats(x.data.length, x);
  const strides = rowMajorStrides(shape);
  copyStrided(
    x.data,
    0,
    order.map((axis) => strides[axis]!),
    rows,
    order.map((axis) => shape[axis]!),
  );
  return rows;
}

function maxOf(x: Floats, start: number, length: number): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let i = start; i < start + length; i++) best = Math.max(best, x[i]!);
  return best;
}

function minOf(x: Floats, start: number, length: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = start; i < start + length; i++) best = Math.min(best, x[i]!);
  return best;
}
