import { allocateHostArray } from '../dtype.ts';
import { defineOp, type OpDefinition } from '../op.ts';
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
  evaluate(operands) {
    const { type, data: onTrue } = operands.on_true;
    const onFalse = operands.on_false.data;
    const pred = operands.pred.data;
    const y = allocateHostArray(type.dtype, pred.length);
    for (let i = 0; i < y.length; i++) y[i] = pred[i] !== 0 ? onTrue[i]! : onFalse[i]!;
    return [{ type, data: y }];
  },
});
