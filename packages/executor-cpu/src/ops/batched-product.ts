/** @file Products with batch axes: one matrix product for each batch, from operands as they lie in memory where strides can say how. */
import type { Ref } from '../code/code-builder.ts';
import { formatCode, type KernelFormat } from '../engine/engine.ts';
import { byteLength, type KernelCall, type Place, reductionCode } from '../kernel.ts';
import { emitStridedCopy, rowMajorStrides } from './strided-copy.ts';

/** Axes of one operand, outermost first; the instruction has two batch axes and one free axis. */
interface Axes {
  readonly batch: readonly number[];
  readonly free: readonly number[];
  readonly k: number;
}

interface Axis {
  readonly size: number;
  /** In elements, for every operand that has the axis. */
  readonly strides: readonly number[];
}

/** Joins neighbours that one stride walks in every operand. */
function merged(axes: readonly Axis[]): Axis[] {
  const found: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const last = found.at(-1);
    if (last?.strides.every((stride, i) => stride === axis.strides[i]! * axis.size)) {
      found[found.length - 1] = { size: last.size * axis.size, strides: axis.strides };
    } else found.push(axis);
  }
  return found;
}

function axesOf({ type: { shape } }: Place, batch: readonly number[], contract: readonly number[]): Axes {
  const free = shape.map((_, axis) => axis).filter((axis) => !batch.includes(axis) && axis !== contract[0]);
  return { batch, free, k: contract[0]! };
}

interface Operand {
  readonly ref: Ref;
  /** Of every axis, in elements. */
  readonly strides: readonly number[];
}

const product = (sizes: readonly number[]) => sizes.reduce((total, size) => total * size, 1);

export function emitBatchedProduct(call: KernelCall): void {
  const { code, attributes, operands, results } = call;
  const [lhs, rhs] = operands as readonly [Place, Place];
  const [out] = results as readonly [Place];
  const { lhs_contract, rhs_contract, lhs_batch, rhs_batch } = attributes as Readonly<
    Record<string, readonly number[]>
  >;
  const sides = [axesOf(lhs, lhs_batch!, lhs_contract!), axesOf(rhs, rhs_batch!, rhs_contract!)] as const;
  const places = [lhs, rhs] as const;
  if (out.type.shape.includes(0)) return;
  const k = lhs.type.shape[sides[0].k]!;
  // A sum of no products is +0.
  if (k === 0) {
    code.emit('fill', [out.ref()], [1, product(out.type.shape), 4, 0]);
    return;
  }
  let sources = places.map((place): Operand => ({ ref: place.ref(), strides: rowMajorStrides(place.type.shape) }));
  if (!fits(places, sides, sources)) sources = places.map((place, i) => ordered(call, place, sides[i]!));
  const batch = batchAxes(places, sides, sources);
  const one: Axis = { size: 1, strides: [0, 0] };
  const [outer = one, inner = one] = batch.length === 1 ? [one, ...batch] : batch;
  const frees = sides.map((side, i) => freeAxes(places[i]!, side, sources[i]!)[0] ?? { size: 1, strides: [0] });
  const strides = sides.flatMap((side, i) => [
    outer.strides[i]!,
    inner.strides[i]!,
    frees[i]!.strides[0]!,
    sources[i]!.strides[side.k]!,
  ]);
  const formats = places.map(({ type }) => formatCode[type.dtype as KernelFormat]);
  const sizes = [outer.size, inner.size, frees[0]!.size, frees[1]!.size, k];
  const refs = [...sources.map(({ ref }) => ref), out.ref()];
  code.emit('batch_dot', refs, [reductionCode[call.reduction], ...formats, ...sizes, ...strides]);
}

function batchAxes(places: readonly Place[], sides: readonly Axes[], sources: readonly Operand[]): Axis[] {
  return merged(
    sides[0]!.batch.map((axis, i) => ({
      size: places[0]!.type.shape[axis]!,
      strides: sides.map((side, operand) => sources[operand]!.strides[side.batch[i]!]!),
    })),
  );
}

function freeAxes({ type: { shape } }: Place, { free }: Axes, { strides }: Operand): Axis[] {
  return merged(free.map((axis) => ({ size: shape[axis]!, strides: [strides[axis]!] })));
}

function fits(places: readonly Place[], sides: readonly Axes[], sources: readonly Operand[]): boolean {
  const isMatrix = sides.every((side, i) => freeAxes(places[i]!, side, sources[i]!).length <= 1);
  return isMatrix && batchAxes(places, sides, sources).length <= 2;
}

/** A copy with its axes in the order batch, free, k. */
function ordered({ code }: KernelCall, place: Place, { batch, free, k }: Axes): Operand {
  const { dtype, shape } = place.type;
  const order = [...batch, ...free, k];
  const own = rowMajorStrides(shape);
  const type = { dtype, shape: order.map((axis) => shape[axis]!) };
  const to = rowMajorStrides(type.shape);
  const ref = code.scratch(byteLength(place));
  emitStridedCopy(code, [place.ref(), ref], type, { from: order.map((axis) => own[axis]!), to });
  return { ref, strides: shape.map((_, axis) => to[order.indexOf(axis)]!) };
}
