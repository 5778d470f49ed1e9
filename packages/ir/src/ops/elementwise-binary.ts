import { defineOp, type OpDefinition } from '../op.ts';
import { f32OrI32 } from './operand-specs.ts';
import { checkSameType } from './shape-rules.ts';

/** Element loops by dtype; storing into the typed array rounds to f32 or wraps to i32. */
interface BinaryLoops {
  f32(a: Float32Array, b: Float32Array, y: Float32Array): void;
  i32(a: Int32Array, b: Int32Array, y: Int32Array): void;
}

function defineBinary(name: string, summary: string, loops: BinaryLoops): OpDefinition {
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
    evaluate({ lhs, rhs }) {
      if (lhs.type.dtype === 'f32') {
        const y = new Float32Array(lhs.data.length);
        loops.f32(lhs.data as Float32Array, rhs.data as Float32Array, y);
        return [{ type: lhs.type, data: y }];
      }
      const y = new Int32Array(lhs.data.length);
      loops.i32(lhs.data as Int32Array, rhs.data as Int32Array, y);
      return [{ type: lhs.type, data: y }];
    },
  });
}

export const add: OpDefinition = defineBinary('add', 'lhs + rhs; i32 wraps.', {
  f32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! + b[i]!;
  },
  i32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! + b[i]!;
  },
});

export const subtract: OpDefinition = defineBinary('subtract', 'lhs - rhs; i32 wraps.', {
  f32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! - b[i]!;
  },
  i32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! - b[i]!;
  },
});

export const multiply: OpDefinition = defineBinary('multiply', 'lhs * rhs; i32 wraps.', {
  f32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! * b[i]!;
  },
  i32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = Math.imul(a[i]!, b[i]!);
  },
});

export const divide: OpDefinition = defineBinary('divide', 'lhs / rhs; i32 truncates toward zero, and x / 0 is 0.', {
  f32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! / b[i]!;
  },
  i32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = a[i]! / b[i]!;
  },
});

export const maximum: OpDefinition = defineBinary('maximum', 'The larger one; NaN if either is NaN; +0 is above -0.', {
  f32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = Math.max(a[i]!, b[i]!);
  },
  i32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = Math.max(a[i]!, b[i]!);
  },
});

export const minimum: OpDefinition = defineBinary('minimum', 'The smaller one; NaN if either is NaN; -0 is below +0.', {
  f32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = Math.min(a[i]!, b[i]!);
  },
  i32(a, b, y) {
    for (let i = 0; i < y.length; i++) y[i] = Math.min(a[i]!, b[i]!);
  },
});
