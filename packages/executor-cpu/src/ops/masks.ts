/** @file What masks are made of, and constants. */
import { coreOps, dtypeBytes } from '@quaver/ir';
import { type CpuKernel, elementRows, native, type Place } from '../kernel.ts';

// The numbers are those of `enum class Direction` in native/program/ops_reduce.cpp.
const directions = ['EQ', 'NE', 'LT', 'LE', 'GT', 'GE'];

export const compareKernel: CpuKernel = {
  op: 'compare',
  version: 1,
  supports: () => native,
  emit({ code, attributes, operands, results }) {
    const [a, b] = operands as readonly [Place, Place];
    const [out] = results as readonly [Place];
    const direction = directions.indexOf(attributes.direction as string);
    const isInteger = a.type.dtype === 'i32' ? 1 : 0;
    code.emit('compare', [a.ref(), b.ref(), out.ref()], [direction, isInteger, ...elementRows(out.type.shape)]);
  },
};

// The numbers are those of `enum class Logical` in native/program/ops_reduce.cpp.
export const logicalKernels: readonly CpuKernel[] = ['and', 'or', 'not'].map((op, operation) => ({
  op,
  version: 1,
  supports: () => native,
  emit({ code, operands, results }) {
    // `not` has one operand, and reads it alone.
    const [a, b = a] = operands as readonly [Place, Place?];
    const [out] = results as readonly [Place];
    code.emit('logical', [a.ref(), b.ref(), out.ref()], [operation, ...elementRows(out.type.shape)]);
  },
}));

export const selectKernel: CpuKernel = {
  op: 'select',
  version: 1,
  supports: () => native,
  emit({ code, operands, results }) {
    const [pred, onTrue, onFalse] = operands as readonly [Place, Place, Place];
    const [out] = results as readonly [Place];
    const numbers = [dtypeBytes[out.type.dtype], ...elementRows(out.type.shape)];
    code.emit('select', [pred.ref(), onTrue.ref(), onFalse.ref(), out.ref()], numbers);
  },
};

export const iotaKernel: CpuKernel = {
  op: 'iota',
  version: 1,
  supports: () => native,
  emit({ code, attributes, results }) {
    const [out] = results as readonly [Place];
    const { shape } = out.type;
    const axis = attributes.axis as number;
    const product = (sizes: readonly number[]) => sizes.reduce((total, size) => total * size, 1);
    const sizes = [product(shape.slice(0, axis)), shape[axis]!, product(shape.slice(axis + 1))];
    code.emit('iota', [out.ref()], [out.type.dtype === 'i32' ? 1 : 0, ...sizes]);
  },
};

export const constantKernel: CpuKernel = {
  op: 'constant',
  version: 1,
  supports: () => native,
  emit({ code, attributes, results }) {
    const [out] = results as readonly [Place];
    const { dtype } = out.type;
    // One element by the definition of the op, which knows how every dtype rounds.
    const [one] = coreOps.latest('core', 'constant').evaluate([], { ...attributes, shape: [] }, [{ dtype, shape: [] }]);
    const { data } = one!;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const bits = bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
    code.emit('fill', [out.ref()], [...elementRows(out.type.shape), dtypeBytes[dtype], bits]);
  },
};
