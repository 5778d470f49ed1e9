import { defineOp, type OpDefinition } from '../op.ts';
import { allocateLike } from './evaluation/floats.ts';
import { zerosLike } from './gradient-steps.ts';
import { anyDType, bool } from './operand-specs.ts';
import { checkSameType, checkShape } from './shape-rules.ts';

export const select: OpDefinition = defineOp('select', {
  version: 1,
  summary: 'on_true where pred is true, else on_false; the bits are copied, whatever the dtype.',
  operands: { pred: bool, on_true: anyDType, on_false: anyDType },
  attributes: {},
  results: ['y'],
  traits: ['elementwise'],
  infer(types) {
    checkSameType('select', 'on_true', types.on_true, 'on_false', types.on_false);
    checkShape('select', 'pred', types.pred, types.on_true.shape, 'one choice per element');
    return [types.on_true];
  },
  gradient(g, { operands: { pred }, cotangents: [dy] }) {
    const zeros = zerosLike(g, dy!);
    return { on_true: g.op('select', [pred, dy!, zeros]), on_false: g.op('select', [pred, zeros, dy!]) };
  },
  evaluate(operands) {
    const { type, data: onTrue } = operands.on_true;
    const onFalse = operands.on_false.data;
    const pred = operands.pred.data;
    const y = allocateLike(type.dtype, pred.length, operands.on_true, operands.on_false);
    for (let i = 0; i < y.length; i++) y[i] = pred[i] !== 0 ? onTrue[i]! : onFalse[i]!;
    return [{ type, data: y }];
  },
});
