import { attribute } from '../attribute.ts';
import type { GraphBuilder } from '../builder.ts';
import type { Dim } from '../dim.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType } from '../type.ts';
import { allocateLike } from './evaluation/floats.ts';
import { copyStrided, rowMajorStrides } from './evaluation/strided.ts';
import { permuted, unpermuted } from './gradient-steps.ts';
import { anyDType } from './operand-specs.ts';
import { freeAxes } from './shape-rules.ts';

/** Length of `dim` cut to start, start + stride, … below limit; undefined when the cut is not allowed. */
function slicedDim(dim: Dim, start: number, limit: Dim, stride: number): Dim | undefined {
  if (start < 0 || stride < 1) return undefined;
  if (typeof dim === 'number' && typeof limit === 'number') {
    return start <= limit && limit <= dim ? Math.ceil((limit - start) / stride) : undefined;
  }
  return dim === limit && start === 0 && stride === 1 ? dim : undefined;
}

/** Puts the elements of an axis at start, start + stride, … of one of `size`, with zeros between. */
function spread(g: GraphBuilder, x: Value, axis: number, size: Dim, start: number, stride: number): Value {
  const { shape } = x.type;
  const length = shape[axis]!;
  if (length === size) return x;
  const sized = (count: Dim) => shape.map((dim, i) => (i === axis ? count : dim));
  const zeros = (count: Dim) => g.constant(0, 'f32', sized(count));
  if (typeof length !== 'number' || typeof size !== 'number') throw new Error('a symbolic axis is taken whole');
  if (length === 0) return zeros(size);
  if (stride === 1) {
    const join = (lhs: Value, rhs: Value) => g.op('concatenate', [lhs, rhs], { axis });
    const before = start === 0 ? x : join(zeros(start), x);
    return start + length === size ? before : join(before, zeros(size - start - length));
  }
  const steps = g.op('iota', [], { dtype: 'i32', shape: [length], axis: 0 });
  const splat = (value: number) => g.constant(value, 'i32', [length]);
  const indices = g.op('add', [g.op('multiply', [steps, splat(stride)]), splat(start)]);
  const order = [axis, ...freeAxes(shape.length, [axis])];
  const rows = order.map((i) => sized(size)[i]!);
  const scattered = g.op('scatter_add', [g.constant(0, 'f32', rows), indices, permuted(g, x, order)]);
  return unpermuted(g, scattered, order);
}

export const slice: OpDefinition = defineOp('slice', {
  version: 1,
  summary: 'Elements start, start + stride, … below limit of every axis; a symbolic axis is taken whole.',
  operands: { x: anyDType },
  attributes: { start: attribute.ints(), limit: attribute.dims(), stride: attribute.ints() },
  results: ['y'],
  infer({ x }, { start, limit, stride }) {
    const rank = x.shape.length;
    if (start.length !== rank || limit.length !== rank || stride.length !== rank) {
      throw typeError('slice', `start, limit and stride do not fit x, ${formatType(x)}`, `Give ${rank} of each.`);
    }
    const shape = x.shape.map((dim, i) => {
      const length = slicedDim(dim, start[i]!, limit[i]!, stride[i]!);
      if (length !== undefined) return length;
      throw typeError(
        'slice',
        `axis ${i} of x, ${formatType(x)}, has no slice ${start[i]} to ${limit[i]} by ${stride[i]}`,
        '0 <= start <= limit <= size, stride >= 1; a symbolic axis is taken whole (0, its size, 1).',
      );
    });
    return [{ dtype: x.dtype, shape }];
  },
  gradient(g, { operands: { x }, attributes, cotangents: [dy] }) {
    const { start, stride } = attributes;
    return {
      x: x.type.shape.reduce<Value>((dx, dim, axis) => spread(g, dx, axis, dim, start[axis]!, stride[axis]!), dy!),
    };
  },
  evaluate({ x }, { start, stride }, [type]) {
    const y = allocateLike(x.type.dtype, concreteElementCount(type!), x);
    const strides = rowMajorStrides(x.type.shape);
    const offset = start.reduce((sum, index, axis) => sum + index * strides[axis]!, 0);
    copyStrided(
      x.data,
      offset,
      strides.map((step, axis) => step * stride[axis]!),
      y,
      type!.shape,
    );
    return [{ type: type!, data: y }];
  },
});
