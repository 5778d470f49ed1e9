import type { NodeView, Support } from '@quaver/executor';
import { type CpuKernel, elementRows, native, type Place, refuse } from '../kernel.ts';

// The numbers are those of `enum class Unary` and `Binary` in native/kernels.h.
const unaryOps = ['negate', 'abs', 'exp', 'log', 'sqrt', 'silu'];
const binaryOps = ['add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum', 'swiglu'];

function f32Only({ operands: [a] }: NodeView): Support {
  return a?.dtype === 'f32' ? native : refuse('dtype', 'operands must be f32');
}

const unary = (op: string, operation: number): CpuKernel => ({
  op,
  version: 1,
  supports: f32Only,
  emit: ({ code, operands, results }) => {
    const [x] = operands as readonly [Place];
    const [out] = results as readonly [Place];
    code.emit('unary', [x.ref(), out.ref()], [operation, ...elementRows(out.type.shape)]);
  },
});

/** An op of two tensors of one shape: f32, and i32 where the op takes it. */
const binary = (op: string, operation: number): CpuKernel => ({
  op,
  version: 1,
  supports: () => native,
  emit: ({ code, operands, results }) => {
    const [a, b] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const instruction = out.type.dtype === 'i32' ? 'integer' : 'binary';
    code.emit(instruction, [a.ref(), b.ref(), out.ref()], [operation, ...elementRows(out.type.shape)]);
  },
});

export const elementwiseKernels: readonly CpuKernel[] = [...unaryOps.map(unary), ...binaryOps.map(binary)];

export const biasAddKernel: CpuKernel = {
  op: 'bias_add',
  version: 1,
  supports: () => native,
  emit: ({ code, operands, results }) => {
    const [x, bias] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const n = x.type.shape.at(-1)!;
    const rows = n === 0 ? 0 : x.type.shape.reduce((product, dim) => product * dim, 1) / n;
    code.emit('add_row', [x.ref(), bias.ref(), out.ref()], [rows, n]);
  },
};
