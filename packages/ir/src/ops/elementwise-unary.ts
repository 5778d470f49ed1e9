import { exp32, log32 } from '@quaver/numerics';
import { defineOp, type OpDefinition } from '../op.ts';
import { f32 } from './operand-specs.ts';

/** Writes f(x[i]) to y[i]; storing into a Float32Array rounds to f32. */
type UnaryLoop = (x: Float32Array, y: Float32Array) => void;

function defineUnary(name: string, summary: string, loop: UnaryLoop): OpDefinition {
  return defineOp(name, {
    version: 1,
    summary,
    operands: { x: f32 },
    attributes: {},
    results: ['y'],
    traits: ['elementwise'],
    infer: ({ x }) => [x],
    flops: ({ x }) => x.shape.reduce((product, dim) => product * dim, 1),
    evaluate({ x }) {
      const y = new Float32Array(x.data.length);
      loop(x.data as Float32Array, y);
      return [{ type: x.type, data: y }];
    },
  });
}

export const negate: OpDefinition = defineUnary('negate', '-x; the sign of zero and infinity flips too.', (x, y) => {
  for (let i = 0; i < x.length; i++) y[i] = -x[i]!;
});

export const abs: OpDefinition = defineUnary('abs', '|x|.', (x, y) => {
  for (let i = 0; i < x.length; i++) y[i] = Math.abs(x[i]!);
});

export const exp: OpDefinition = defineUnary('exp', 'e^x by the project’s own f32 exponential.', (x, y) => {
  for (let i = 0; i < x.length; i++) y[i] = exp32(x[i]!);
});

export const log: OpDefinition = defineUnary('log', 'Natural logarithm by the project’s own f32 logarithm.', (x, y) => {
  for (let i = 0; i < x.length; i++) y[i] = log32(x[i]!);
});

export const sqrt: OpDefinition = defineUnary('sqrt', 'Square root, correctly rounded; NaN below zero.', (x, y) => {
  for (let i = 0; i < x.length; i++) y[i] = Math.sqrt(x[i]!);
});
