/** @file What one op's CPU kernel is: which nodes it takes, and the steps that run one of them at concrete shapes. */
import type { NodeView, Support } from '@quaver/executor';
import { type Attributes, type ConcreteType, concreteElementCount, dtypeBytes } from '@quaver/ir';
import type { CpuBuffer } from './cpu-buffer.ts';
import type { Kernels } from './kernels.ts';
import type { WasmHeap } from './wasm-heap.ts';

/** Where a value is: at a fixed offset, and for parameters in a buffer that can also be had packed. */
export interface Place {
  readonly type: ConcreteType;
  /** Offset in WebAssembly memory. */
  pointer(): number;
  /** Set for whole bound buffers (inputs, parameters, states, outputs). */
  readonly buffer?: CpuBuffer;
}

/** Memory that a step may use while it runs; the pointer may change between binding and running. */
export interface Scratch {
  pointer(): number;
}

/** One node at concrete shapes. */
export interface KernelCall {
  readonly kernels: Kernels;
  readonly heap: WasmHeap;
  readonly attributes: Attributes;
  readonly operands: readonly (Place | undefined)[];
  readonly results: readonly Place[];
  /** Scratch of at least `byteLength` bytes, shared by all steps of the program. */
  scratch(byteLength: number): Scratch;
}

/** A part of a node that runs without a pause: some milliseconds at most, so that an abort gets through. */
export type Step = () => void;

export interface CpuKernel {
  readonly op: string;
  readonly version: number;
  /** Index of the operand that the kernel reads packed: weights [N, K] in f32, BF16 or FP8. */
  readonly packedOperand?: number;
  supports(node: NodeView): Support;
  steps(call: KernelCall): readonly Step[];
}

export const native: Support = { ok: true, native: true };

export function refuse(code: string, reason: string): Support {
  return { ok: false, code, reason };
}

/** Rough work of one step: about ten milliseconds of a matrix kernel. */
const stepFlops = 4e8;

/** Splits the outputs [0, n) of a matrix product into ranges of bounded work; all but the last are multiples of 32. */
export function outputRanges(n: number, flopsPerOutput: number): (readonly [n0: number, n1: number])[] {
  const panel = 32;
  const size = Math.max(panel, Math.floor(stepFlops / Math.max(1, flopsPerOutput) / panel) * panel);
  const ranges: (readonly [number, number])[] = [];
  for (let n0 = 0; n0 < n; n0 += size) ranges.push([n0, Math.min(n, n0 + size)]);
  return ranges;
}

/** Fills the first result with +0: what a sum of no products is. */
export function zeroStep({ heap, results }: KernelCall): Step {
  const [out] = results as readonly [Place];
  const byteLength = concreteElementCount(out.type) * dtypeBytes[out.type.dtype];
  return () => {
    heap.view(out.pointer(), byteLength).fill(0);
  };
}

/** Number of rows when the last axis is the row. */
export function rowCount(shape: readonly number[]): number {
  return shape.slice(0, -1).reduce((product, dim) => product * dim, 1);
}
