import { QuaverError } from '@quaver/numerics';
import { defineOp, type OpDefinition, typeError } from '../op.ts';
import { concreteElementCount, formatType } from '../type.ts';
import { allocateFloats } from './evaluation/floats.ts';
import { f32, i32 } from './operand-specs.ts';

export const scatterAdd: OpDefinition = defineOp('scatter_add', {
  version: 1,
  summary:
    'Adds rows of updates to a copy of operand: update i goes to row indices[i], in ascending order of i. The gradient of ' +
    'gather along axis 0. An index outside of operand is the error gather-index.',
  operands: { operand: f32, indices: i32, updates: f32 },
  attributes: {},
  results: ['y'],
  infer({ operand, indices, updates }) {
    const expected = [...indices.shape, ...operand.shape.slice(1)];
    const fits = operand.shape.length > 0 && updates.shape.length === expected.length;
    if (fits && expected.every((dim, i) => dim === updates.shape[i])) return [operand];
    throw typeError(
      'scatter_add',
      `updates is ${formatType(updates)} for operand ${formatType(operand)} and indices ${formatType(indices)}`,
      'Its shape is that of indices, then that of a row of operand.',
    );
  },
  flops: ({ updates }) => concreteElementCount(updates),
  gradient: (g, { operands: { indices }, cotangents: [dy] }) => ({
    operand: dy!,
    updates: g.op('gather', [dy!, indices], { axis: 0 }),
  }),
  evaluate({ operand, indices, updates }, _, [type]) {
    const [rows, ...rest] = operand.type.shape as readonly [number, ...number[]];
    const width = rest.reduce((product, dim) => product * dim, 1);
    const y = allocateFloats(operand.data.length, operand, updates);
    y.set(operand.data);
    for (let i = 0; i < indices.data.length; i++) {
      const index = indices.data[i]!;
      if (!(index >= 0 && index < rows)) {
        throw new QuaverError(
          'gather-index',
          `scatter_add: index ${index} at position ${i} is outside 0 to ${rows - 1}`,
          {
            hint: 'Token ids must be below the vocabulary size.',
            where: { op: 'scatter_add', index, bound: rows, position: i },
          },
        );
      }
      for (let c = 0; c < width; c++) y[index * width + c]! += updates.data[i * width + c]!;
    }
    return [{ type: type!, data: y }];
  },
});
