/** @file Ops that only move elements: every one is a copy with strides. */
import type { NodeView, Support } from '@quaver/executor';
import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';
import { emitStridedCopy, rowMajorStrides } from './strided-copy.ts';

/** A copy is cut into several instructions beyond four axes: more would make many. */
const highestRank = 6;

function supports({ results: [y] }: NodeView): Support {
  return y!.shape.length <= highestRank ? native : refuse('rank', `more than ${highestRank} axes`);
}

export const transposeKernel: CpuKernel = {
  op: 'transpose',
  version: 1,
  supports,
  emit({ code, attributes, operands, results }) {
    const [x] = operands as readonly [Place];
    const [y] = results as readonly [Place];
    const strides = rowMajorStrides(x.type.shape);
    const from = (attributes.permutation as readonly number[]).map((axis) => strides[axis]!);
    emitStridedCopy(code, [x.ref(), y.ref()], y.type, { from, to: rowMajorStrides(y.type.shape) });
  },
};

export const broadcastInDimKernel: CpuKernel = {
  op: 'broadcast_in_dim',
  version: 1,
  supports,
  emit({ code, attributes, operands, results }) {
    const [x] = operands as readonly [Place];
    const [y] = results as readonly [Place];
    const strides = rowMajorStrides(x.type.shape);
    const from = y.type.shape.map(() => 0);
    for (const [i, axis] of (attributes.dims as readonly number[]).entries()) {
      if (x.type.shape[i] !== 1) from[axis] = strides[i]!;
    }
    emitStridedCopy(code, [x.ref(), y.ref()], y.type, { from, to: rowMajorStrides(y.type.shape) });
  },
};

export const sliceKernel: CpuKernel = {
  op: 'slice',
  version: 1,
  supports,
  emit({ code, attributes, operands, results }) {
    const [x] = operands as readonly [Place];
    const [y] = results as readonly [Place];
    const { start, stride } = attributes as Readonly<Record<'start' | 'stride', readonly number[]>>;
    const strides = rowMajorStrides(x.type.shape);
    const first = start.reduce((sum, index, axis) => sum + index * strides[axis]!, 0);
    const from = strides.map((step, axis) => step * stride[axis]!);
    const to = rowMajorStrides(y.type.shape);
    emitStridedCopy(code, [x.ref(), y.ref()], y.type, { from, to }, { from: first, to: 0 });
  },
};

export const concatenateKernel: CpuKernel = {
  op: 'concatenate',
  version: 1,
  supports,
  emit({ code, attributes, operands, results }) {
    const [lhs, rhs] = operands as readonly [Place, Place];
    const [y] = results as readonly [Place];
    const axis = attributes.axis as number;
    const to = rowMajorStrides(y.type.shape);
    const parts = [
      { part: lhs, start: 0 },
      { part: rhs, start: lhs.type.shape[axis]! * to[axis]! },
    ];
    for (const { part, start } of parts) {
      const from = rowMajorStrides(part.type.shape);
      emitStridedCopy(code, [part.ref(), y.ref()], part.type, { from, to }, { from: 0, to: start });
    }
  },
};
