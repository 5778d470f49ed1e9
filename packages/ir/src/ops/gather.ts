import { QuaverError } from '@quaver/numerics';
import { attribute } from '../attribute.ts';
import type { GraphBuilder } from '../builder.ts';
import { multiplyDims } from '../dim.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType } from '../type.ts';
import { allocateLike } from './evaluation/floats.ts';
import { permuted, reshaped, unpermuted } from './gradient-steps.ts';
import { anyDType, i32 } from './operand-specs.ts';
import { checkAxis, freeAxes, staticDim } from './shape-rules.ts';

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
  gradient(g, { operands: { operand, indices }, attributes: { axis, batch_dims: batch }, cotangents: [dy] }) {
    const { shape } = operand.type;
    // Rows to scatter: the batch, then the axis; the axes before and behind it are the row.
    const batches = Array.from({ length: batch }, (_, i) => i);
    const before = Array.from({ length: axis - batch }, (_, i) => batch + i);
    const picked = Array.from({ length: indices.type.shape.length - batch }, (_, i) => axis + i);
    const behind = freeAxes(dy!.type.shape.length, batches, before, picked);
    const updates = permuted(g, dy!, [...batches, ...picked, ...before, ...behind]);
    const order = [...batches, axis, ...freeAxes(shape.length, batches, [axis])];
    const rows = order.map((i) => shape[i]!);
    const flat = [multiplyDims(...rows.slice(0, batch + 1)), ...rows.slice(batch + 1)];
    const scattered = g.op('scatter_add', [
      g.constant(0, 'f32', flat),
      flatIndices(g, operand, indices, axis, batch),
      updates,
    ]);
    return { operand: unpermuted(g, reshaped(g, scattered, rows), order) };
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
    const y = allocateLike(type!.dtype, concreteElementCount(type!), operand);
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

/** indices, counted over the batch and the axis together. */
function flatIndices(g: GraphBuilder, operand: Value, indices: Value, axis: number, batch: number): Value {
  const { shape } = indices.type;
  const bound = operand.type.shape[axis]!;
  return Array.from({ length: batch }, (_, i) => i).reduce((flat, i) => {
    // How many rows one step along this axis of the batch is.
    const step = multiplyDims(...operand.type.shape.slice(i + 1, batch), bound);
    const index = g.op('iota', [], { dtype: 'i32', shape, axis: i });
    const rows = g.constant(
      staticDim('gather', `its gradient: the size of a step along axis ${i}`, step),
      'i32',
      shape,
    );
    return g.op('add', [flat, g.op('multiply', [index, rows])]);
  }, indices);
}

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
