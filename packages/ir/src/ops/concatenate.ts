import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType } from '../type.ts';
import { allocateLike } from './evaluation/floats.ts';
import { anyDType } from './operand-specs.ts';
import { checkAxis, staticDim } from './shape-rules.ts';

export const concatenate: OpDefinition = defineOp('concatenate', {
  version: 1,
  summary: 'rhs after lhs along one axis of static size.',
  operands: { lhs: anyDType, rhs: anyDType },
  attributes: { axis: attribute.int() },
  results: ['y'],
  infer({ lhs, rhs }, { axis }) {
    const others = (shape: readonly unknown[]) => shape.map((dim, i) => (i === axis ? '*' : dim)).join(',');
    if (lhs.dtype !== rhs.dtype || others(lhs.shape) !== others(rhs.shape)) {
      throw typeError(
        'concatenate',
        `lhs is ${formatType(lhs)} but rhs is ${formatType(rhs)}`,
        `They may differ in axis ${axis} only.`,
      );
    }
    checkAxis('concatenate', 'axis', axis, lhs.shape.length);
    const total =
      staticDim('concatenate', `axis ${axis} of lhs`, lhs.shape[axis]!) +
      staticDim('concatenate', `axis ${axis} of rhs`, rhs.shape[axis]!);
    return [{ dtype: lhs.dtype, shape: lhs.shape.map((dim, i) => (i === axis ? total : dim)) }];
  },
  gradient(g, { operands: { lhs, rhs }, attributes: { axis }, cotangents: [dy] }) {
    const { shape } = dy!.type;
    const middle = lhs.type.shape[axis] as number;
    const part = (from: number, to: number) =>
      g.op('slice', [dy!], {
        start: shape.map((_, i) => (i === axis ? from : 0)),
        limit: shape.map((dim, i) => (i === axis ? to : dim)),
        stride: shape.map(() => 1),
      });
    return { lhs: part(0, middle), rhs: part(middle, middle + (rhs.type.shape[axis] as number)) };
  },
  evaluate({ lhs, rhs }, { axis }, [type]) {
    const y = allocateLike(type!.dtype, concreteElementCount(type!), lhs, rhs);
    const run = (shape: readonly number[]) => shape.slice(axis).reduce((product, dim) => product * dim, 1);
    const [left, right] = [run(lhs.type.shape), run(rhs.type.shape)];
    for (let at = 0, row = 0; at < y.length; at += left + right, row++) {
      y.set(lhs.data.subarray(row * left, (row + 1) * left), at);
      y.set(rhs.data.subarray(row * right, (row + 1) * right), at + left);
    }
    return [{ type: type!, data: y }];
  },
});
