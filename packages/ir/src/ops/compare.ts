import { attribute } from '../attribute.ts';
import type { HostArray } from '../dtype.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { f32OrI32 } from './operand-specs.ts';
import { checkSameType } from './shape-rules.ts';

type CompareLoop = (a: HostArray, b: HostArray, y: Uint8Array) => void;

const loops: Readonly<Record<string, CompareLoop>> = {
  EQ(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! === b[i]! ? 1 : 0;
  },
  NE(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! !== b[i]! ? 1 : 0;
  },
  LT(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! < b[i]! ? 1 : 0;
  },
  LE(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! <= b[i]! ? 1 : 0;
  },
  GT(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! > b[i]! ? 1 : 0;
  },
  GE(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! >= b[i]! ? 1 : 0;
  },
};

export const compare: OpDefinition = defineOp('compare', {
  version: 1,
  summary: 'Elementwise comparison; with a NaN only NE is true.',
  operands: { lhs: f32OrI32, rhs: f32OrI32 },
  attributes: { direction: attribute.oneOf(Object.keys(loops)) },
  results: ['y'],
  traits: ['elementwise'],
  infer({ lhs, rhs }) {
    checkSameType('compare', 'lhs', lhs, 'rhs', rhs);
    return [{ dtype: 'bool', shape: lhs.shape }];
  },
  flops: ({ lhs }) => lhs.shape.reduce((product, dim) => product * dim, 1),
  evaluate({ lhs, rhs }, { direction }, [type]) {
    const y = new Uint8Array(lhs.data.length);
    loops[direction]!(lhs.data, rhs.data, y);
    return [{ type: type!, data: y }];
  },
});
