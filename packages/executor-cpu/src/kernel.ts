/** @file What one op's CPU kernel is: which nodes it takes, and the instructions of one of them at concrete shapes. */
import type { NodeView, Support } from '@quaver/executor';
import { type Attributes, type ConcreteType, concreteElementCount, dtypeBytes } from '@quaver/ir';
import type { CodeBuilder, Ref } from './code/code-builder.ts';
import type { CpuBuffer } from './cpu-buffer.ts';
import type { Reduction } from './engine/engine.ts';

/** Where a value is. There is one place for every value, also where two share memory. */
export interface Place {
  readonly type: ConcreteType;
  /** Set for whole bound buffers (inputs, parameters, states, outputs). */
  readonly buffer?: CpuBuffer;
  /** The address of the bytes as they are; a parameter that is only there packed is brought back for it. */
  ref(): Ref;
}

/** One node at concrete shapes. */
export interface KernelCall {
  readonly code: CodeBuilder;
  readonly reduction: Reduction;
  readonly attributes: Attributes;
  readonly operands: readonly (Place | undefined)[];
  readonly results: readonly Place[];
}

export interface CpuKernel {
  readonly op: string;
  readonly version: number;
  supports(node: NodeView): Support;
  emit(call: KernelCall): void;
}

export const native: Support = { ok: true, native: true };

export function refuse(code: string, reason: string): Support {
  return { ok: false, code, reason };
}

export const reductionCode: Readonly<Record<Reduction, number>> = { canonical: 0, fast: 1 };

export function byteLength({ type }: Pick<Place, 'type'>): number {
  return concreteElementCount(type) * dtypeBytes[type.dtype];
}

/** Number of rows when the last axis is the row. */
export function rowCount(shape: readonly number[]): number {
  return shape.slice(0, -1).reduce((product, dim) => product * dim, 1);
}

/** A row of a long vector is no longer: threads share the rows out, and a stop gets through between them. */
const longestRow = 4096;

/**
 * A tensor as rows that threads share out: those of the first two axes (sequences and tokens), so that the ops between two
 * matrix products cut their work at the same places and a thread goes through all of them with its rows.
 */
export function elementRows(shape: readonly number[]): readonly [rows: number, width: number] {
  const count = shape.reduce((product, dim) => product * dim, 1);
  if (count === 0) return [0, 0];
  const rows = shape.length < 2 ? 1 : shape.length === 2 ? shape[0]! : shape[0]! * shape[1]!;
  if (rows > 1 || count <= longestRow) return [rows, count / rows];
  let width = longestRow;
  while (count % width !== 0) width--;
  // A length without a divisor of some size stays one row.
  return width >= 64 ? [count / width, width] : [1, count];
}
