import { attribute } from '../attribute.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { formatType } from '../type.ts';
import { broadcastTo } from './body-steps.ts';
import { allocateLike } from './evaluation/floats.ts';
import { zerosLike } from './gradient-steps.ts';
import { anyDType, i32 } from './operand-specs.ts';
import { checkAxis, checkShape, staticDim } from './shape-rules.ts';

export const dynamicUpdateSlice: OpDefinition = defineOp('dynamic_update_slice', {
  version: 1,
  summary:
    'Writes update into a copy of operand: element t of row b along axis goes to start[b] + t. Axis 0 is the batch. ' +
    'What falls outside the axis is dropped.',
  operands: { operand: anyDType, update: anyDType, start: { ...i32, rank: 1 } },
  attributes: { axis: attribute.int() },
  results: ['y'],
  infer({ operand, update, start }, { axis }) {
    checkAxis('dynamic_update_slice', 'axis', axis, operand.shape.length);
    if (axis === 0) throw typeError('dynamic_update_slice', 'axis 0 is the batch', 'Update along axis 1 or higher.');
    const fits =
      operand.dtype === update.dtype &&
      operand.shape.length === update.shape.length &&
      operand.shape.every((dim, i) => i === axis || dim === update.shape[i]);
    if (!fits) {
      throw typeError(
        'dynamic_update_slice',
        `update is ${formatType(update)} but operand is ${formatType(operand)}`,
        `They may differ in axis ${axis} only.`,
      );
    }
    checkShape('dynamic_update_slice', 'start', start, operand.shape.slice(0, 1), 'one start per row of the batch');
    return [operand];
  },
  gradient(g, { operands: { operand, update, start }, attributes: { axis }, cotangents: [dy] }) {
    const [batch, tokens, length] = [update.type.shape[0]!, update.type.shape[axis]!, operand.type.shape[axis]!];
    const shape = [batch, tokens];
    const last = staticDim('dynamic_update_slice', 'its gradient: the updated axis', length) - 1;
    const splat = (value: number) => g.constant(value, 'i32', shape);
    const at = g.op('add', [broadcastTo(g, start, shape, [0]), g.op('iota', [], { dtype: 'i32', shape, axis: 1 })]);
    const inside = g.op('maximum', [g.op('minimum', [at, splat(last)]), splat(0)]);
    const written = g.op('compare', [at, inside], { direction: 'EQ' });
    // gather puts the tokens where the axis was, after the axes before it.
    const picked = g.op('gather', [dy!, inside], { axis, batch_dims: 1 });
    const seen = broadcastTo(g, written, picked.type.shape, [0, axis]);
    return {
      operand: g.op('dynamic_update_slice', [dy!, zerosLike(g, update), start], { axis }),
      update: g.op('select', [seen, picked, zerosLike(g, picked)]),
    };
  },
  evaluate({ operand, update, start }, { axis }) {
    const { shape } = operand.type;
    const y = allocateLike(operand.type.dtype, operand.data.length, operand, update);
    y.set(operand.data);
    const product = (dims: readonly number[]) => dims.reduce((total, dim) => total * dim, 1);
    const inner = product(shape.slice(axis + 1));
    const middle = product(shape.slice(1, axis));
    const length = shape[axis]!;
    const updates = update.type.shape[axis]!;
    for (let b = 0; b < shape[0]!; b++) {
      const first = start.data[b]!;
      const from = Math.max(0, -first);
      const to = Math.min(updates, length - first);
      if (from >= to) continue;
      for (let m = 0; m < middle; m++) {
        const row = b * middle + m;
        const source = update.data.subarray((row * updates + from) * inner, (row * updates + to) * inner);
        y.set(source, (row * length + first + from) * inner);
      }
    }
    return [{ type: operand.type, data: y }];
  },
});
