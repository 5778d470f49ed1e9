/** @file The normative arithmetic as plain loops, written apart from @quaver/numerics so that the two check each other. */
const f = Math.fround;
const view = new DataView(new ArrayBuffer(4));

const bitsOf = (x: number) => {
  view.setFloat32(0, x);
  return view.getUint32(0);
};
const fromBits = (bits: number) => {
  view.setUint32(0, bits >>> 0);
  return view.getFloat32(0);
};

const horner = (coefficients: readonly number[], x: number) =>
  coefficients.slice(1).reduce((sum, c) => f(f(sum * x) + f(c)), f(coefficients[0]!));

export function referenceExp(x: number): number {
  if (Number.isNaN(x)) return x;
  if (x > 88.72283172607422) return Infinity;
  if (x < -87.33654022216797) return 0;
  const t = f(f(x * 1.4426950216293335) + 12582912);
  const n = f(t - 12582912);
  const r = f(f(x - f(n * 0.693359375)) - f(n * f(-2.1219444e-4)));
  const p = horner(
    [1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1],
    r,
  );
  const y = f(f(f(p * f(r * r)) + r) + 1);
  const h = Math.floor(n / 2);
  return f(f(y * 2 ** h) * 2 ** (n - h));
}

export function referenceLog(x: number): number {
  if (Number.isNaN(x) || x < 0) return NaN;
  if (x === 0) return -Infinity;
  if (x === Infinity) return x;
  let e = 0;
  if (x < 2 ** -126) {
    x *= 2 ** 23;
    e = -23;
  }
  const bits = bitsOf(x);
  e += (bits >>> 23) - 126;
  let m = fromBits((bits & 0x7fffff) | 0x3f000000);
  if (m < f(Math.SQRT1_2)) {
    e -= 1;
    m = f(f(m + m) - 1);
  } else m = f(m - 1);
  const z = f(m * m);
  const p = horner(
    [
      7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
      2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ],
    m,
  );
  let y = f(f(p * m) * z);
  y = f(y + f(e * f(-2.1219444e-4)));
  y = f(y - f(0.5 * z));
  return f(f(m + y) + f(e * 0.693359375));
}

/** Sum of `value(i)` for i in [from, to), with partials indexed by i itself. */
export function referenceSum(from: number, to: number, value: (i: number) => number): number {
  const partials = new Array<number>(16).fill(0);
  for (let i = from; i < to; i++) partials[i % 16] = f(partials[i % 16]! + value(i));
  for (const width of [8, 4, 2, 1])
    for (let i = 0; i < width; i++) partials[i] = f(partials[i]! + partials[i + width]!);
  return partials[0]!;
}

export const flushed = (x: number): number => (Math.abs(x) < 2 ** -56 ? 0 : x);

/** Dot of `count` pairs from index `from`, with a fresh accumulator whenever the index passes a multiple of 128. */
export function referenceDot(from: number, to: number, a: (i: number) => number, b: (i: number) => number): number {
  let sum = 0;
  for (let block = Math.floor(from / 128) * 128; block < to; block += 128) {
    let acc = 0;
    for (let i = Math.max(from, block); i < Math.min(to, block + 128); i++) acc = f(acc + f(a(i) * b(i)));
    sum = f(sum + acc);
  }
  return sum;
}

/** Like Math.max over a row: NaN wins. */
export const referenceMax = (row: Iterable<number>): number => {
  let largest = -Infinity;
  for (const x of row) largest = Math.max(largest, x);
  return largest;
};

interface Dot {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** f32 values of the operands a[m, k] and w[n, k]. */
  readonly a: Float32Array;
  readonly w: Float32Array;
  readonly segment: number;
  /** The rounded product of the two scales of a segment; absent for unscaled dots. */
  readonly scale?: (row: number, column: number, k0: number) => number;
}

/** The definition of a matrix product: one accumulator per output, k ascending, a fresh one per segment. */
export function canonicalDots({ m, n, k, a, w, segment, scale }: Dot): Float32Array {
  const out = new Float32Array(m * n);
  for (let row = 0; row < m; row++)
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let k0 = 0; k0 < k; k0 += segment) {
        let acc = 0;
        for (let i = k0; i < Math.min(k0 + segment, k); i++) acc = f(acc + f(a[row * k + i]! * w[column * k + i]!));
        sum = f(sum + (scale ? f(acc * scale(row, column, k0)) : acc));
      }
      out[row * n + column] = sum;
    }
  return out;
}
