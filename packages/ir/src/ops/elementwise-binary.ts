import type { GraphBuilder } from '../builder.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { splatLike } from './body-steps.ts';
import { allocateFloats, type Floats } from './evaluation/floats.ts';
import { where, zerosLike } from './gradient-steps.ts';
import { f32OrI32 } from './operand-specs.ts';
import { checkSameType } from './shape-rules.ts';

/** Element loops by dtype; storing into the typed array rounds to f32 or wraps to i32. */
interface BinaryLoops {
  f32(a: Floats, b: Floats, y: Floats): void;
  i32(a: Int32Array, b: Int32Array, y: Int32Array): void;
}

/** What the loss changes by with each operand, given what it changes by with y = op(lhs, rhs). */
type BinaryGradient = (g: GraphBuilder, dy: Value, lhs: Value, rhs: Value, y: Value) => { lhs: Value; rhs: Value };

function defineBinary(name: string, summary: string, loops: BinaryLoops, gradient: BinaryGradient): OpDefinition {
  return defineOp(name, {
    version: 1,
    summary,
    operands: { lhs: f32OrI32, rhs: f32OrI32 },
    attributes: {},
    results: ['y'],
    traits: ['elementwise'],
    infer({ lhs, rhs }) {
      checkSameType(name, 'lhs', lhs, 'rhs', rhs);
      return [lhs];
    },
    flops: ({ lhs }) => lhs.shape.reduce((product, dim) => product * dim, 1),
    gradient: (g, { operands: { lhs, rhs }, cotangents: [dy], results: [y] }) => gradient(g, dy!, lhs, rhs, y!),
    evaluate({ lhs, rhs }) {
      if (lhs.type.dtype === 'f32') {
        const y = allocateFloats(lhs.data.length, lhs, rhs);
        loops.f32(lhs.data as Floats, rhs.data as Floats, y);
        return [{ type: lhs.type, data: y }];
      }
      const y = new Int32Array(lhs.data.length);
      loops.i32(lhs.data as Int32Array, rhs.data as Int32Array, y);
      return [{ type: lhs.type, data: y }];
    },
  });
}

/** `dy` where a is above b, half of it where they are equal. */
function shareOf(g: GraphBuilder, dy: Value, a: Value, b: Value): Value {
  const half = g.op('multiply', [dy, splatLike(g, 0.5, dy)]);
  return where(g, [a, 'GT', b], dy, where(g, [a, 'EQ', b], half, zerosLike(g, dy)));
}

export const add: OpDefinition = defineBinary(
  'add',
  'lhs + rhs; i32 wraps.',
  {
    f32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = a[i]! + b[i]!;
    },
    i32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = a[i]! + b[i]!;
    },
  },
  (_, dy) => ({ lhs: dy, rhs: dy }),
);

export const subtract: OpDefinition = defineBinary(
  'subtract',
  'lhs - rhs; i32 wraps.',
  {
    f32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = a[i]! - b[i]!;
    },
    i32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = a[i]! - b[i]!;
    },
  },
  (g, dy) => ({ lhs: dy, rhs: g.op('negate', [dy]) }),
);

export const multiply: OpDefinition = defineBinary(
  'multiply',
  'lhs * rhs; i32 wraps.',
  {
    f32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = a[i]! * b[i]!;
    },
    i32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = Math.imul(a[i]!, b[i]!);
    },
  },
  (g, dy, lhs, rhs) => ({ lhs: g.op('multiply', [dy, rhs]), rhs: g.op('multiply', [dy, lhs]) }),
);

export const divide: OpDefinition = defineBinary(
  'divide',
  'lhs / rhs; i32 truncates toward zero, and x / 0 is 0.',
  {
    f32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = a[i]! / b[i]!;
    },
    i32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = a[i]! / b[i]!;
    },
  },
  (g, dy, _, rhs, y) => {
    const perLhs = g.op('divide', [dy, rhs]);
    return { lhs: perLhs, rhs: g.op('negate', [g.op('multiply', [perLhs, y])]) };
  },
);

export const maximum: OpDefinition = defineBinary(
  'maximum',
  'The larger one; NaN if either is NaN; +0 is above -0.',
  {
    f32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = Math.max(a[i]!, b[i]!);
    },
    i32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = Math.max(a[i]!, b[i]!);
    },
  },
  (g, dy, lhs, rhs) => ({ lhs: shareOf(g, dy, lhs, rhs), rhs: shareOf(g, dy, rhs, lhs) }),
);

export const minimum: OpDefinition = defineBinary(
  'minimum',
  'The smaller one; NaN if either is NaN; -0 is below +0.',
  {
    f32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = Math.min(a[i]!, b[i]!);
    },
    i32(a, b, y) {
      for (let i = 0; i < y.length; i++) y[i] = Math.min(a[i]!, b[i]!);
    },
  },
  (g, dy, lhs, rhs) => ({ lhs: shareOf(g, dy, rhs, lhs), rhs: shareOf(g, dy, lhs, rhs) }),
);
