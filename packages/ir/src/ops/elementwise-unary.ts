import { exp32, log32 } from '@quaver/numerics';
import type { GraphBuilder } from '../builder.ts';
import type { Value } from '../module.ts';
import { defineOp, type OpDefinition } from '../op.ts';
import { allocateFloats, type Floats } from './evaluation/floats.ts';
import { where, zerosLike } from './gradient-steps.ts';
import { f32 } from './operand-specs.ts';

/** Writes f(x[i]) to y[i]; storing into a Float32Array rounds to f32. */
type UnaryLoop = (x: Floats, y: Floats) => void;

/** What the loss changes by with x, given what it changes by with y = op(x). */
type UnaryGradient = (g: GraphBuilder, dy: Value, x: Value, y: Value) => Value;

function defineUnary(name: string, summary: string, loop: UnaryLoop, gradient: UnaryGradient): OpDefinition {
  return defineOp(name, {
    version: 1,
    summary,
    operands: { x: f32 },
    attributes: {},
    results: ['y'],
    traits: ['elementwise'],
    infer: ({ x }) => [x],
    flops: ({ x }) => x.shape.reduce((product, dim) => product * dim, 1),
    gradient: (g, { operands: { x }, cotangents: [dy], results: [y] }) => ({ x: gradient(g, dy!, x, y!) }),
    evaluate({ x }) {
      const y = allocateFloats(x.data.length, x);
      loop(x.data as Floats, y);
      return [{ type: x.type, data: y }];
    },
  });
}

export const negate: OpDefinition = defineUnary(
  'negate',
  '-x; the sign of zero and infinity flips too.',
  (x, y) => {
    for (let i = 0; i < x.length; i++) y[i] = -x[i]!;
  },
  (g, dy) => g.op('negate', [dy]),
);

export const abs: OpDefinition = defineUnary(
  'abs',
  '|x|.',
  (x, y) => {
    for (let i = 0; i < x.length; i++) y[i] = Math.abs(x[i]!);
  },
  (g, dy, x) => {
    const zero = zerosLike(g, x);
    return where(g, [x, 'GT', zero], dy, where(g, [x, 'LT', zero], g.op('negate', [dy]), zero));
  },
);

export const exp: OpDefinition = defineUnary(
  'exp',
  'e^x by the project’s own f32 exponential.',
  (x, y) => {
    const f = x instanceof Float64Array ? Math.exp : exp32;
    for (let i = 0; i < x.length; i++) y[i] = f(x[i]!);
  },
  (g, dy, _, y) => g.op('multiply', [dy, y]),
);

export const log: OpDefinition = defineUnary(
  'log',
  'Natural logarithm by the project’s own f32 logarithm.',
  (x, y) => {
    const f = x instanceof Float64Array ? Math.log : log32;
    for (let i = 0; i < x.length; i++) y[i] = f(x[i]!);
  },
  (g, dy, x) => g.op('divide', [dy, x]),
);

export const sqrt: OpDefinition = defineUnary(
  'sqrt',
  'Square root, correctly rounded; NaN below zero.',
  (x, y) => {
    for (let i = 0; i < x.length; i++) y[i] = Math.sqrt(x[i]!);
  },
  (g, dy, _, y) => g.op('divide', [dy, g.op('add', [y, y])]),
);
