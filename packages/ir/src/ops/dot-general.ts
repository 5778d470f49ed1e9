import { attribute } from '../attribute.ts';
import { fp8DTypes } from '../dtype.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType, type TensorType } from '../type.ts';
import { dotGradients } from './dot-gradient.ts';
import { canonicalDot } from './evaluation/canonical-dot.ts';
import { allocateFloats } from './evaluation/floats.ts';
import { packRows } from './evaluation/pack-rows.ts';
import { checkAxes, checkPromote, freeAxes } from './shape-rules.ts';

const dtypes = ['f32', 'bf16', 'f16', 'f8e4m3fn', 'f8e5m2'] as const;

function sameGrid(lhs: TensorType, rhs: TensorType): boolean {
  return lhs.dtype === rhs.dtype || (fp8DTypes.includes(lhs.dtype) && fp8DTypes.includes(rhs.dtype));
}

export const dotGeneral: OpDefinition = defineOp('dot_general', {
  version: 1,
  summary:
    'Dot products over one axis in the canonical order: k ascending, a fresh f32 accumulator every promote elements. ' +
    'Result axes are batch, free of lhs, free of rhs; f32. bf16 magnitudes below 2^-56 count as +0.',
  operands: { lhs: { dtypes }, rhs: { dtypes } },
  attributes: {
    lhs_contract: attribute.ints(),
    rhs_contract: attribute.ints(),
    lhs_batch: attribute.ints([]),
    rhs_batch: attribute.ints([]),
    promote: attribute.int(128),
  },
  results: ['y'],
  infer({ lhs, rhs }, attributes) {
    const { lhs_contract: lc, rhs_contract: rc, lhs_batch: lb, rhs_batch: rb, promote } = attributes;
    const fail = (message: string, hint: string) =>
      typeError('dot_general', `${message} (lhs ${formatType(lhs)}, rhs ${formatType(rhs)})`, hint);
    if (!sameGrid(lhs, rhs)) throw fail('operand dtypes differ', 'Convert one of them; only FP8 formats may be mixed.');
    if (lc.length !== 1 || rc.length !== 1 || lb.length !== rb.length) {
      throw fail(
        'axes do not pair up',
        'Contract exactly one axis of each operand, and name as many batch axes of both.',
      );
    }
    checkAxes('dot_general', 'lhs_contract and lhs_batch', [...lb, ...lc], lhs.shape.length);
    checkAxes('dot_general', 'rhs_contract and rhs_batch', [...rb, ...rc], rhs.shape.length);
    if (lhs.shape[lc[0]!] !== rhs.shape[rc[0]!]) throw fail('contracted axes differ in size', 'They must be equal.');
    if (lb.some((axis, i) => lhs.shape[axis] !== rhs.shape[rb[i]!])) {
      throw fail('batch axes differ in size', 'They must be equal pair by pair.');
    }
    checkPromote('dot_general', promote);
    const shape = [
      ...lb.map((axis) => lhs.shape[axis]!),
      ...freeAxes(lhs.shape.length, lb, lc).map((axis) => lhs.shape[axis]!),
      ...freeAxes(rhs.shape.length, rb, rc).map((axis) => rhs.shape[axis]!),
    ];
    return [{ dtype: 'f32', shape }];
  },
  flops: ({ lhs }, { lhs_contract }, [y]) => 2 * concreteElementCount(y!) * lhs.shape[lhs_contract[0]!]!,
  gradient(g, { operands: { lhs, rhs }, attributes, cotangents: [dy] }) {
    // What an FP8 number without its scale stands for is not known here.
    if (fp8DTypes.includes(lhs.type.dtype)) return {};
    return dotGradients(g, g.convert(lhs, 'f32'), g.convert(rhs, 'f32'), dy!, attributes, attributes.promote);
  },
  evaluate({ lhs, rhs }, attributes, [type]) {
    const { lhs_contract: lc, rhs_contract: rc, lhs_batch: lb, rhs_batch: rb, promote } = attributes;
    const left = packRows(lhs, lb, lc[0]!);
    const right = packRows(rhs, rb, rc[0]!);
    const y = allocateFloats(concreteElementCount(type!), lhs, rhs);
    for (let b = 0; b < left.batches; b++) canonicalDot(left, right, b, promote, undefined, y);
    return [{ type: type!, data: y }];
  },
});
