/**
 * @file Loads `wasm/kernels.wasm` and gives its functions types.
 *
 * Every pointer is a byte offset into `memory`; tensors are row-major and dense unless a stride is named. Offsets of f32 and i32 tensors
 * are multiples of 4, of bf16 tensors of 2, of packed weights and scratch of 16. The kernels keep no state between calls.
 * Arithmetic: the canonical order of the project (one f32 accumulator per output, k ascending, a fresh one every 128
 * k-elements or scale block), so a row's bits depend neither on the other rows nor on the range [n0, n1).
 */
import { QuaverError } from '@quaver/numerics';
import type { KernelExports } from './kernel-exports.ts';

/** Element formats that the kernels read. */
export type KernelFormat = 'f32' | 'bf16' | 'f8e4m3fn' | 'f8e5m2';
export type Fp8Format = 'f8e4m3fn' | 'f8e5m2';

const FORMAT_CODE: Readonly<Record<KernelFormat, number>> = { f32: 0, bf16: 1, f8e4m3fn: 2, f8e5m2: 3 };

/** What the GEMMs share: out[m, n] = Σ_k a[m, k] · w[n, k] for the outputs n in [n0, n1). */
export interface GemmArguments {
  /** a[m, k], row-major. */
  readonly a: number;
  /** w[n, k], packed by `packWeights`. */
  readonly packed: number;
  /** f32 out[m, n]. */
  readonly out: number;
  /** Elements between rows of `out`; default n. */
  readonly outStride?: number;
  /** `gemmScratchBytes(m, k)` bytes. */
  readonly scratch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Range of outputs to compute; default all of them. Only these elements of `out` are written. */
  readonly n0?: number;
  readonly n1?: number;
}

/**
 * Operands and scales of a scaled dot: `out += acc · (aScale · wScale)` after every segment of min(128, blockK) elements.
 * blockK is a multiple of 128, a divisor of 128 that is a multiple of 4, or at least k (one scale per row, segments of 128).
 */
export interface GemmFp8Arguments extends GemmArguments {
  readonly aFormat: Fp8Format;
  readonly wFormat: Fp8Format;
  /** f32; element `row · aScaleStride + block`. */
  readonly aScales: number;
  /** Elements between the scales of two rows; default ceil(k / blockK). 0 shares one row of scales (per-tensor). */
  readonly aScaleStride?: number;
  /** f32 [ceil(n / blockN), ceil(k / blockK)]. */
  readonly wScales: number;
  /** k-elements that share a scale. */
  readonly blockK: number;
  /** Outputs that share a weight scale. */
  readonly blockN: number;
}

export class Kernels {
  readonly memory: WebAssembly.Memory;
  /** The first byte that the module does not use for itself, a multiple of 64. */
  readonly heapBase: number;
  readonly #wasm: KernelExports;

  constructor(memory: WebAssembly.Memory, wasm: KernelExports) {
    this.memory = memory;
    this.#wasm = wasm;
    this.heapBase = Math.ceil(wasm.__heap_base.value / 64) * 64;
  }

  /** Grows the memory so that bytes [0, end) exist. Growing detaches typed arrays made from `memory.buffer` before. */
  reserve(end: number): void {
    const missing = end - this.memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      this.memory.grow(Math.ceil(missing / PAGE_BYTES));
    } catch (cause) {
      throw new QuaverError('wasm-out-of-memory', `cannot grow the kernels' memory to ${end} bytes`, {
        hint: 'WebAssembly memory ends at 4 GiB: use a smaller model, context or batch.',
        cause,
      });
    }
  }

  /** Bytes of weights w[n, k] once packed. */
  packedBytes(format: KernelFormat, n: number, k: number): number {
    return this.#wasm.packed_bytes(FORMAT_CODE[format], n, k) >>> 0;
  }

  /**
   * Packs rows [row0, row0 + rows) of w[·, k]. `w` points to row `row0`, `packed` to the whole packed matrix. `row0` is a multiple
   * of 32, and so is `rows` unless they are the last rows: a large matrix can be brought in slice by slice.
   */
  packWeights(format: KernelFormat, w: number, packed: number, k: number, row0: number, rows: number): void {
    if (row0 % PANEL !== 0)
      throw new QuaverError(
        'kernel-argument',
        `packWeights: expected row0 to be a multiple of ${PANEL}, found ${row0}`,
      );
    this.#wasm.pack_weights(FORMAT_CODE[format], w, packed, k, row0, rows);
  }

  /** Bytes of scratch that a GEMM of m rows of k elements needs. */
  gemmScratchBytes(m: number, k: number): number {
    return this.#wasm.gemm_scratch_bytes(m, k) >>> 0;
  }

  /** FP8 codes and scales on both sides; see {@link GemmFp8Arguments}. */
  gemmFp8(g: GemmFp8Arguments): void {
    const { m, n, k, blockK, blockN } = g;
    checkBlock(blockK, k);
    this.#wasm.gemm_fp8(
      FORMAT_CODE[g.aFormat],
      g.a,
      g.aScales,
      g.aScaleStride ?? Math.ceil(k / blockK),
      FORMAT_CODE[g.wFormat],
      g.packed,
      g.wScales,
      g.out,
      g.outStride ?? n,
      g.scratch,
      m,
      n,
      k,
      blockK,
      blockN,
      g.n0 ?? 0,
      g.n1 ?? n,
    );
  }

  /** BF16 on both sides, segments of 128. Operands below 2^-56 count as +0. */
  gemmBf16(g: GemmArguments): void {
    const { m, n, k } = g;
    this.#wasm.gemm_bf16(g.a, g.packed, g.out, g.outStride ?? n, g.scratch, m, n, k, g.n0 ?? 0, g.n1 ?? n);
  }

  /** f32 on both sides, segments of 128. */
  gemmF32(g: GemmArguments): void {
    const { m, n, k } = g;
    this.#wasm.gemm_f32(g.a, g.packed, g.out, g.outStride ?? n, g.scratch, m, n, k, g.n0 ?? 0, g.n1 ?? n);
  }
}

const PAGE_BYTES = 65536;
const PANEL = 32;
const PROMOTE = 128;

function checkBlock(blockK: number, k: number): void {
  if (blockK > 0 && (blockK >= k || blockK % PROMOTE === 0 || (blockK % 4 === 0 && PROMOTE % blockK === 0))) return;
  throw new QuaverError(
    'kernel-argument',
    `gemmFp8: expected blockK to be a multiple of ${PROMOTE}, 4 … 64 dividing ${PROMOTE}, or at least k = ${k}; found ${blockK}`,
  );
}

/** A module that uses one SIMD128 instruction: `func (result v128) i32.const 0; i8x16.splat`. */
const SIMD_PROBE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11],
);

/** The bytes of the module: from the file next to this one in Node, fetched in a browser. */
async function readModule(): Promise<BufferSource> {
  const url = new URL('../wasm/kernels.wasm', import.meta.url);
  try {
    // Not an import: bundlers for browsers would have to resolve it.
    const fs = globalThis.process?.getBuiltinModule?.('node:fs/promises');
    if (url.protocol === 'file:' && fs) return await fs.readFile(url);
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await response.arrayBuffer();
  } catch (cause) {
    throw new QuaverError('kernels-not-found', `cannot read the WebAssembly kernels at ${url}: ${String(cause)}`, {
      hint: 'Serve or install wasm/kernels.wasm next to the JavaScript of @quaver/executor-cpu.',
      cause,
    });
  }
}

/**
 * Compiles the kernels over `memory`, or over a new growable one.
 * @throws QuaverError `wasm-simd-missing`, `kernels-not-found`
 */
export async function loadKernels(
  memory: WebAssembly.Memory = new WebAssembly.Memory({ initial: 4 }),
): Promise<Kernels> {
  if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(SIMD_PROBE))
    throw new QuaverError('wasm-simd-missing', 'this JavaScript engine has no WebAssembly SIMD (128-bit)', {
      hint: 'Use Node 16.4 or later, Chrome 91, Firefox 89, Safari 16.4, or later versions of them.',
    });
  const { instance } = await WebAssembly.instantiate(await readModule(), { env: { memory } });
  return new Kernels(memory, instance.exports as unknown as KernelExports);
}
