/** @file Forms of a node's operands that must be ready before its kernel runs. */
import type { KernelCall, Place, Step } from './kernel.ts';
import type { KernelFormat } from './kernels.ts';

/** Parts of the program's scratch that one node uses at the same time. */
export class Regions {
  readonly #call: KernelCall;
  #end = 0;

  constructor(call: KernelCall) {
    this.#call = call;
  }

  /** `byteLength` bytes; the pointer is known when the step runs. */
  take(byteLength: number): () => number {
    const offset = this.#end;
    this.#end += Math.ceil(byteLength / 64) * 64;
    const scratch = this.#call.scratch(this.#end);
    return () => scratch.pointer() + offset;
  }
}

export interface Prepared {
  readonly pointer: () => number;
  /** Runs before the pointer's contents are read; absent when they are ready. */
  readonly prepare?: Step;
}

/** Weights in the kernels' layout: a parameter is packed once, a computed value at every run. */
export function packedWeights(
  { kernels }: KernelCall,
  weights: Place,
  format: KernelFormat,
  n: number,
  k: number,
  regions: Regions,
): Prepared {
  const { buffer } = weights;
  if (buffer?.usage === 'parameter') return { pointer: () => buffer.packed(kernels, format, n, k) };
  const pointer = regions.take(kernels.packedBytes(format, n, k));
  return { pointer, prepare: () => kernels.packWeights(format, weights.pointer(), pointer(), k, 0, n) };
}
