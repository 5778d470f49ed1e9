/**
 * @file Loads `wasm/kernels.wasm` and gives its functions types.
 *
 * Every pointer is a byte offset into `memory`; tensors are row-major and dense unless a stride is named. Offsets of f32 and i32 tensors
 * are multiples of 4, of bf16 tensors of 2, of packed weights and scratch of 16. Elementwise and row kernels may work in place. The
 * kernels keep no state between calls.
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

/** Attention over a KV cache; see {@link Kernels.attention}. */
export interface AttentionArguments {
  /**
   * f32: q, k and v are f32. bf16: all are bf16. f8e4m3fn: q is bf16, k and v are codes with one E8M0 scale per token and head.
   * Under bf16 and f8e4m3fn every operand of the two products is on the BF16 grid, and below 2^-56 counts as +0.
   */
  readonly cache: 'f32' | 'bf16' | 'f8e4m3fn';
  /** Precision of the probabilities in the second product; f8e4m3fn means a fixed scale of 2^-8. Default: bf16, or f32 for an f32 cache. */
  readonly probs?: 'f32' | 'bf16' | 'f8e4m3fn';
  /** [b, t, qHeads, d]. */
  readonly q: number;
  /** [b, s, kvHeads, d]. */
  readonly k: number;
  readonly v: number;
  /** E8M0 bytes [b, s, kvHeads]; for an f8e4m3fn cache. */
  readonly kScales?: number;
  readonly vScales?: number;
  /** i32[b]: position of the first query of each sequence. */
  readonly start: number;
  /** f32 [b, t, qHeads, d]. */
  readonly out: number;
  /** `attentionScratchBytes(s, d)` bytes. */
  readonly scratch: number;
  readonly b: number;
  readonly t: number;
  /** Keys that the cache has room for. */
  readonly s: number;
  /** A multiple of kvHeads. */
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly d: number;
  /** Keys that a query sees, its own included; 0 (default) means all up to its own. */
  readonly window?: number;
  /** Factor on q · k, such as 1/sqrt(d); an f32. */
  readonly scale: number;
  /** Range of the b · qHeads (sequence, head) pairs to compute; default all. */
  readonly n0?: number;
  readonly n1?: number;
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

  /** x f32[m, k] → codes[m, k] and scales f32[m, ceil(k / block)]: amax, scale, saturating cast of x / scale. */
  quantizeRows(
    format: Fp8Format,
    x: number,
    codes: number,
    scales: number,
    m: number,
    k: number,
    block: number,
    rounding: 'none' | 'pow2_up',
  ): void {
    if (!(block > 0))
      throw new QuaverError('kernel-argument', `quantizeRows: expected a positive block, found ${block}`);
    const width = Math.min(block, k);
    this.#wasm.quantize_rows(FORMAT_CODE[format], x, codes, scales, m, k, width, rounding === 'pow2_up' ? 1 : 0);
  }

  /** x f32[rows, d] → codes[rows, d] and one E8M0 scale byte per row, rounded up: what an FP8 KV cache holds. */
  quantizeE8m0(format: Fp8Format, x: number, codes: number, scales: number, rows: number, d: number): void {
    this.#wasm.quantize_e8m0(FORMAT_CODE[format], x, codes, scales, rows, d);
  }

  /** x f32[n] → codes[n], round to nearest even; FP8 saturates, NaN gives the positive NaN. */
  encode(format: 'bf16' | Fp8Format, x: number, codes: number, n: number): void {
    this.#wasm.encode(FORMAT_CODE[format], x, codes, n);
  }

  /** codes[n] → out f32[n], exactly. */
  decode(format: 'bf16' | Fp8Format, codes: number, out: number, n: number): void {
    this.#wasm.decode(FORMAT_CODE[format], codes, out, n);
  }

  /** Bytes of scratch for attention over s keys with heads of d elements. */
  attentionScratchBytes(s: number, d: number): number {
    return this.#wasm.attention_scratch_bytes(s, d) >>> 0;
  }

  /**
   * softmax(q · kᵀ · scale) · v. Query t of sequence b sees the keys j ≤ start[b] + t, j < s and, with a window, j > start[b] + t − window;
   * where it sees none the output is 0. Scores, maximum, `exp`, the sum indexed by key position and the second product with a fresh
   * accumulator every 128 key positions make a row's bits independent of how the queries are chunked.
   */
  attention(x: AttentionArguments): void {
    const { cache, b, qHeads, kvHeads } = x;
    if (!(kvHeads > 0) || qHeads % kvHeads !== 0)
      throw new QuaverError(
        'kernel-argument',
        `attention: expected qHeads to be a multiple of kvHeads, found ${qHeads} and ${kvHeads}`,
      );
    if (cache === 'f8e4m3fn' && (x.kScales === undefined || x.vScales === undefined))
      throw new QuaverError('kernel-argument', 'attention: an f8e4m3fn cache needs kScales and vScales');
    this.#wasm.attention(
      FORMAT_CODE[cache],
      FORMAT_CODE[x.probs ?? (cache === 'f32' ? 'f32' : 'bf16')],
      x.q,
      x.k,
      x.kScales ?? 0,
      x.v,
      x.vScales ?? 0,
      x.start,
      x.out,
      x.scratch,
      b,
      x.t,
      x.s,
      qHeads,
      kvHeads,
      x.d,
      x.window ?? 0,
      x.scale,
      x.n0 ?? 0,
      x.n1 ?? b * qHeads,
    );
  }

  /** out = (x · r) · weight, r = 1 / sqrt(Σ x² / n + eps): x, out f32[rows, n], weight f32[n]. */
  rmsNorm(x: number, weight: number, out: number, rows: number, n: number, eps: number): void {
    this.#wasm.rms_norm(x, weight, out, rows, n, eps);
  }

  /** Softmax of each row of f32[rows, n]. */
  softmax(x: number, out: number, rows: number, n: number): void {
    this.#wasm.softmax(x, out, rows, n);
  }

  /** (x − max) − log(Σ exp(x − max)) of each row of f32[rows, n]. */
  logSoftmax(x: number, out: number, rows: number, n: number): void {
    this.#wasm.log_softmax(x, out, rows, n);
  }

  /**
   * The log-softmax of one element per row: x f32[rows, n], targets i32[rows], out f32[rows].
   * @throws QuaverError `gather-index`
   */
  logSoftmaxGather(x: number, targets: number, out: number, rows: number, n: number): void {
    const bad = this.#wasm.log_softmax_gather(x, targets, out, rows, n);
    if (bad >= 0) throw this.#indexError('logSoftmaxGather: target', targets, bad, n);
  }

  /** out = (gate / (1 + exp(−gate))) · up; f32[n] each. */
  swiglu(gate: number, up: number, out: number, n: number): void {
    this.#wasm.swiglu(gate, up, out, n);
  }

  /**
   * Rotate-half rotary embedding of x f32[b, t, h, d] at positions start[b] + t; cos, sin f32[positions, d / 2], start i32[b].
   * @throws QuaverError `gather-index`
   */
  rope(
    x: number,
    cos: number,
    sin: number,
    start: number,
    out: number,
    b: number,
    t: number,
    h: number,
    d: number,
    positions: number,
  ): void {
    const bad = this.#wasm.rope(x, cos, sin, start, out, b, t, h, d, positions);
    if (bad >= 0) throw this.#indexError(`rope: start (with ${t} positions from it)`, start, bad, positions);
  }

  /** out = a + b; f32[n] each. */
  add(a: number, b: number, out: number, n: number): void {
    this.#wasm.add(a, b, out, n);
  }

  /** out = a · b; f32[n] each. */
  multiply(a: number, b: number, out: number, n: number): void {
    this.#wasm.multiply(a, b, out, n);
  }

  /** out f32[rows, n] = x + bias f32[n]. */
  addBias(x: number, bias: number, out: number, rows: number, n: number): void {
    this.#wasm.add_bias(x, bias, out, rows, n);
  }

  #indexError(what: string, indices: number, at: number, limit: number): QuaverError {
    const found = new DataView(this.memory.buffer).getInt32(indices + 4 * at, true);
    return new QuaverError('gather-index', `${what} ${at} is ${found}, expected 0 … ${limit - 1}`);
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
