import { defineOp, type OpDefinition } from '../op.ts';
import { bool } from './operand-specs.ts';
import { checkSameType } from './shape-rules.ts';

function defineLogical(name: string, summary: string, combine: (a: number, b: number) => number): OpDefinition {
  return defineOp(name, {
    version: 1,
    summary,
    operands: { lhs: bool, rhs: bool },
    attributes: {},
    results: ['y'],
    traits: ['elementwise'],
    infer({ lhs, rhs }) {
      checkSameType(name, 'lhs', lhs, 'rhs', rhs);
      return [lhs];
    },
    evaluate({ lhs, rhs }) {
      const y = new Uint8Array(lhs.data.length);
      for (let i = 0; i < y.length; i++) y[i] = combine(lhs.data[i]!, rhs.data[i]!);
      return [{ type: lhs.type, data: y }];
    },
  });
}

export const and: OpDefinition = defineLogical('and', 'True where both are.', (a, b) => a & b);

export const or: OpDefinition = defineLogical('or', 'True where either is.', (a, b) => a | b);

export const not: OpDefinition = defineOp('not', {
  version: 1,
  summary: 'True where x is false.',
  operands: { x: bool },
  attributes: {},
  results: ['y'],
  traits: ['elementwise'],
  infer: ({ x }) => [x],
  evaluate({ x }) {
    const y = new Uint8Array(x.data.length);
    for (let i = 0; i < y.length; i++) y[i] = x.data[i]! ^ 1;
    return [{ type: x.type, data: y }];
  },
});
