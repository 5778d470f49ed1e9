import { canonicalSum } from '@quaver/numerics';
import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, type HostTensor } from '../type.ts';
import { copyStrided, rowMajorStrides } from './evaluation/strided.ts';
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
  evaluate({ x }, { kind, axes }, [type]) {
    const y = new Float32Array(concreteElementCount(type!));
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

function sumAxis(x: HostTensor, axis: number, y: Float32Array): void {
  const { shape } = x.type;
  const length = shape[axis]!;
  const inner = shape.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const data = x.data as Float32Array;
  for (let i = 0; i < y.length; i++) {
    const outer = Math.floor(i / inner);
    y[i] = canonicalSum(data, outer * length * inner + (i % inner), length, inner);
  }
}

function reducedAxesLast(x: HostTensor, axes: readonly number[]): Float32Array {
  const { shape } = x.type;
  const order = [...freeAxes(shape.length, axes), ...axes];
  const rows = new Float32Array(x.data.length);
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

function maxOf(x: Float32Array, start: number, length: number): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let i = start; i < start + length; i++) best = Math.max(best, x[i]!);
  return best;
}

function minOf(x: Float32Array, start: number, length: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = start; i < start + length; i++) best = Math.min(best, x[i]!);
  return best;
}
