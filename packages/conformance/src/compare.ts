/** @file Compares tensors: by their bits, or within a bound. */
import { formatType, type HostTensor, sameType } from '@quaver/ir';
import { type FloatFormatName, floatFormats, snr, ulpDistance } from '@quaver/numerics';
import type { Tolerance } from './vectors/manifest.ts';

export interface Comparison {
  /** Why the tensors do not agree; undefined when they do. */
  readonly problem: string | undefined;
  /** The largest distance between elements in units in the last place of f32; undefined where there is none, as to a NaN. */
  readonly ulp: number | undefined;
}

/**
 * By default bit for bit, but for one freedom: a NaN of f32 may have any payload, because processors and JavaScript
 * disagree about it. With a bound, elements that are not finite must still be the same.
 */
export function compareTensors(expected: HostTensor, found: HostTensor, tolerance: Tolerance = 'bits'): Comparison {
  const { type } = expected;
  if (!sameType(found.type, type) || found.data.length !== expected.data.length) {
    const problem = `it is ${formatType(found.type)}, expected ${formatType(type)}`;
    return { problem, ulp: undefined };
  }
  const [wanted, given] = [bitsOf(expected), bitsOf(found)];
  const differing: number[] = [];
  for (let i = 0; i < given.length; i++) if (given[i] !== wanted[i]) differing.push(i);
  if (differing.length === 0) return { problem: undefined, ulp: 0 };
  const [a, b] = [numbersOf(expected), numbersOf(found)];
  const ulp = differing.reduce((worst, i) => Math.max(worst, ulpDistance(a[i]!, b[i]!)), 0);
  const within = tolerance !== 'bits' && sameWhereNotFinite(a, b) && isWithin(a, b, ulp, tolerance);
  return {
    problem: within ? undefined : describe(differing, a, b, ulp, tolerance),
    ulp: Number.isFinite(ulp) ? ulp : undefined,
  };
}

function isWithin(a: Float32Array, b: Float32Array, ulp: number, tolerance: Exclude<Tolerance, 'bits'>): boolean {
  return 'ulp' in tolerance ? ulp <= tolerance.ulp : snr(a, b) >= tolerance.snr_db;
}

function sameWhereNotFinite(a: Float32Array, b: Float32Array): boolean {
  return a.every((x, i) => (Number.isFinite(x) ? Number.isFinite(b[i]!) : Object.is(x, b[i])));
}

/** Unsigned integers that are equal where the elements are the same. */
function bitsOf({ type, data }: HostTensor): Uint32Array | Uint16Array | Uint8Array {
  if (type.dtype !== 'f32') {
    const bits = data as Exclude<HostTensor['data'], Float32Array | Float64Array>;
    return bits instanceof Int32Array ? new Uint32Array(bits.buffer, bits.byteOffset, bits.length) : bits;
  }
  const bits = new Uint32Array(data.slice().buffer);
  for (let i = 0; i < bits.length; i++) if (Number.isNaN(data[i])) bits[i] = 0x7fc0_0000;
  return bits;
}

function numbersOf({ type, data }: HostTensor): Float32Array {
  const { dtype } = type;
  if (dtype === 'f32') return data as Float32Array;
  const format = Object.hasOwn(floatFormats, dtype) ? floatFormats[dtype as FloatFormatName] : undefined;
  return Float32Array.from(data, (code) => (format ? format.decode(code) : code));
}

function describe(
  differing: readonly number[],
  a: Float32Array,
  b: Float32Array,
  ulp: number,
  tolerance: Tolerance,
): string {
  const first = differing[0]!;
  const count = `${differing.length} of ${a.length} elements differ, by ${ulp} ULP at most`;
  const [bound] = tolerance === 'bits' ? [] : Object.entries(tolerance);
  const allowed = bound ? `; SNR ${snr(a, b).toFixed(1)} dB, allowed ${bound[0]} ${bound[1]}` : '';
  return `${count}${allowed}; element ${first} is ${numberText(b[first]!)}, expected ${numberText(a[first]!)}`;
}

function numberText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}
