import { QuaverError } from '@quaver/numerics';
import { attribute } from '../attribute.ts';
import { allocateHostArray } from '../dtype.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType } from '../type.ts';
import { anyDType, i32 } from './operand-specs.ts';
import { checkAxis } from './shape-rules.ts';

export const gather: OpDefinition = defineOp('gather', {
  version: 1,
  summary:
    'Picks slices of operand by index along one axis, as numpy take; the first batch_dims axes of operand and indices ' +
    'go together. An index outside the axis is the error gather-index.',
  operands: { operand: anyDType, indices: i32 },
  attributes: { axis: attribute.int(), batch_dims: attribute.int(0) },
  results: ['y'],
  infer({ operand, indices }, attributes) {
    const { axis, batch_dims: batch } = attributes;
    checkAxis('gather', 'axis', axis, operand.shape.length);
    if (batch < 0 || batch > axis || batch > indices.shape.length) {
      throw typeError('gather', `batch_dims is ${batch}`, 'It is at most axis and at most the rank of indices.');
    }
    if (indices.shape.slice(0, batch).some((dim, i) => dim !== operand.shape[i])) {
      throw typeError(
        'gather',
        `operand is ${formatType(operand)} but indices is ${formatType(indices)}`,
        `Their first ${batch} axes must be equal.`,
      );
    }
    const shape = [...operand.shape.slice(0, axis), ...indices.shape.slice(batch), ...operand.shape.slice(axis + 1)];
    return [{ dtype: operand.dtype, shape }];
  },
  evaluate({ operand, indices }, attributes, [type]) {
    const { axis, batch_dims: batchDims } = attributes;
    const { shape } = operand.type;
    const product = (dims: readonly number[]) => dims.reduce((total, dim) => total * dim, 1);
    const batches = product(shape.slice(0, batchDims));
    const outer = product(shape.slice(batchDims, axis));
    const bound = shape[axis]!;
    const inner = product(shape.slice(axis + 1));
    const count = product(indices.type.shape.slice(batchDims));
    checkIndices(indices.data as Int32Array, bound);
    const y = allocateHostArray(type!.dtype, concreteElementCount(type!));
    let at = 0;
    for (let b = 0; b < batches; b++) {
      for (let o = 0; o < outer; o++) {
        const base = (b * outer + o) * bound;
        for (let i = 0; i < count; i++, at += inner) {
          const from = (base + indices.data[b * count + i]!) * inner;
          if (inner === 1) y[at] = operand.data[from]!;
          else y.set(operand.data.subarray(from, from + inner), at);
        }
      }
    }
    return [{ type: type!, data: y }];
  },
});

function checkIndices(indices: Int32Array, bound: number): void {
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]!;
    if (index >= 0 && index < bound) continue;
    throw new QuaverError('gather-index', `gather: index ${index} at position ${i} is outside 0 to ${bound - 1}`, {
      hint: 'Token ids must be below the vocabulary size and positions below the context length.',
      where: { op: 'gather', index, bound, position: i },
    });
  }
}
