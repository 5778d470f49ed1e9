/** @file Ops that only move elements: every one is a copy with strides. */
import type { NodeView, Support } from '@quaver/executor';
import type { Attributes, ConcreteType } from '@quaver/ir';
import { type CpuKernel, native, type Place, refuse } from '../kernel.ts';
import { emitStridedCopy, mostAxes, rowMajorStrides } from './strided-copy.ts';

function supports({ results: [y] }: NodeView): Support {
  return y!.shape.length <= mostAxes ? native : refuse('rank', `more than ${mostAxes} axes`);
}

/** How to walk through x in the order of the result: elements between neighbours along every axis, and where to begin. */
interface Walk {
  readonly strides: readonly number[];
  readonly first?: number;
}

/** An op whose result is its operand, walked through in another way. */
const walking = (op: string, walk: (x: ConcreteType, y: ConcreteType, attributes: Attributes) => Walk): CpuKernel => ({
  op,
  version: 1,
  supports,
  emit({ code, attributes, operands, results }) {
    const [x] = operands as readonly [Place];
    const [y] = results as readonly [Place];
    const { strides, first = 0 } = walk(x.type, y.type, attributes);
    const to = rowMajorStrides(y.type.shape);
    emitStridedCopy(code, [x.ref(), y.ref()], y.type, { from: strides, to }, { from: first, to: 0 });
  },
});

export const transposeKernel: CpuKernel = walking('transpose', ({ shape }, _, { permutation }) => {
  const strides = rowMajorStrides(shape);
  return { strides: (permutation as readonly number[]).map((axis) => strides[axis]!) };
});

export const broadcastInDimKernel: CpuKernel = walking('broadcast_in_dim', (x, y, { dims }) => {
  const own = rowMajorStrides(x.shape);
  const strides = y.shape.map(() => 0);
  for (const [i, axis] of (dims as readonly number[]).entries()) if (x.shape[i] !== 1) strides[axis] = own[i]!;
  return { strides };
});

export const sliceKernel: CpuKernel = walking('slice', ({ shape }, _, attributes) => {
  const { start, stride } = attributes as Readonly<Record<'start' | 'stride', readonly number[]>>;
  const own = rowMajorStrides(shape);
  return {
    strides: own.map((step, axis) => step * stride[axis]!),
    first: start.reduce((sum, index, axis) => sum + index * own[axis]!, 0),
  };
});

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
