/** @file The instructions that tests run, by name and with arguments that have names. */
import {
  type Fp8Format,
  formatCode,
  type KernelFormat,
  type Reduction,
  type RunFailure,
} from '../src/engine/engine.ts';
import { reductionCode } from '../src/kernel.ts';
import type { Arena, At } from './kernels-arena.ts';

/** The numbers of `enum class Unary` and `Binary` in native/kernels.h. */
const unaryOps = ['negate', 'abs', 'exp', 'log', 'sqrt', 'silu'] as const;
const binaryOps = ['add', 'subtract', 'multiply', 'divide', 'maximum', 'minimum', 'swiglu'] as const;
export type UnaryOp = (typeof unaryOps)[number];
export type BinaryOp = (typeof binaryOps)[number];

/** out[m, n] = Σ_k a[m, k] · w[n, k]. */
export interface GemmArguments {
  readonly aFormat: KernelFormat;
  readonly wFormat: KernelFormat;
  /** a[m, k], row-major. */
  readonly a: At;
  /** w[n, k], packed by `packWeights`. */
  readonly packed: At;
  /** f32 out[m, n]. */
  readonly out: At;
  /** Elements between rows of `out`; default n. */
  readonly outStride?: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly reduction?: Reduction;
  /** f32; element `row · aScaleStride + block · aBlockStride`. */
  readonly aScales?: At;
  /** Default ceil(k / blockK); 0 shares one row of scales (per-tensor). */
  readonly aScaleStride?: number;
  readonly aBlockStride?: number;
  /** f32 [ceil(n / blockN), ceil(k / blockK)], or with strides. */
  readonly wScales?: At;
  readonly wScaleStride?: number;
  readonly wBlockStride?: number;
  /** k-elements that share a scale; default all. */
  readonly blockK?: number;
  /** Outputs that share a weight scale; default 1. */
  readonly blockN?: number;
}

type PlainGemm = Omit<GemmArguments, 'aFormat' | 'wFormat'>;

export interface AttentionArguments {
  readonly cache: 'f32' | 'bf16' | 'f8e4m3fn';
  /** Default: bf16, or f32 for an f32 cache. */
  readonly probs?: 'f32' | 'bf16' | 'f8e4m3fn' | undefined;
  readonly q: At;
  readonly k: At;
  readonly v: At;
  readonly kScales?: At;
  readonly vScales?: At;
  readonly start: At;
  /** i32[b, t]. */
  readonly firstKey?: At | undefined;
  readonly out: At;
  readonly b: number;
  readonly t: number;
  readonly s: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly d: number;
  readonly window?: number | undefined;
  readonly scale: number;
  readonly reduction?: Reduction;
  /** i32[b, s / pageTokens]; then k and v, and their scales, are pages. */
  readonly pages?: At;
  readonly pageCount?: number;
  readonly pageTokens?: number;
}

export interface ByScales {
  readonly rows: number;
  readonly k: number;
  readonly scaleStride: number;
  readonly blockRows: number;
  readonly blockColumns: number;
}

export class Kernels {
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /** Packs w[n, k] (element (r, c) at r · rowStride + c · columnStride); where the packed form is. */
  async packWeights(format: KernelFormat, w: At, n: number, k: number, rowStride = k, columnStride = 1): Promise<At> {
    const packed = this.#arena.bytes(this.#arena.engine.packedBytes(format, n, k));
    await this.#arena.run(['pack', [w, packed], [formatCode[format], n, k, rowStride, columnStride]]);
    return packed;
  }

  unpackWeights(format: KernelFormat, packed: At, out: At, n: number, k: number): Promise<void> {
    return this.#arena.run(['unpack', [packed, out], [formatCode[format], n, k]]);
  }

  async gemm(g: GemmArguments): Promise<void> {
    const { m, n, k, blockK = k } = g;
    const staged = this.#arena.bytes(this.#arena.engine.stagedBytes(g.aFormat, g.wFormat, m, k));
    const [aCode, wCode] = [formatCode[g.aFormat], formatCode[g.wFormat]];
    const blocks = Math.ceil(k / blockK);
    await this.#arena.run(
      ['stage', [g.a, staged], [aCode, m, k, k, 1, wCode]],
      [
        'gemm',
        [staged, g.packed, g.out, g.aScales, g.wScales],
        [
          reductionCode[g.reduction ?? 'canonical'],
          aCode,
          wCode,
          m,
          n,
          k,
          g.outStride ?? n,
          g.aScaleStride ?? blocks,
          g.aBlockStride ?? 1,
          g.wScaleStride ?? blocks,
          g.wBlockStride ?? 1,
          g.blockN ?? 1,
          blockK,
        ],
      ],
    );
  }

  /** FP8 codes and scales on both sides. */
  gemmFp8(g: GemmArguments): Promise<void> {
    return this.gemm(g);
  }

  /** BF16 on both sides, segments of 128. Operands below 2^-56 count as +0. */
  gemmBf16(g: PlainGemm): Promise<void> {
    return this.gemm({ ...g, aFormat: 'bf16', wFormat: 'bf16' });
  }

  /** f32 on both sides, segments of 128. */
  gemmF32(g: PlainGemm): Promise<void> {
    return this.gemm({ ...g, aFormat: 'f32', wFormat: 'f32' });
  }

  attention(x: AttentionArguments): Promise<void> {
    const { cache, probs = cache === 'f32' ? 'f32' : 'bf16', b, t, s, qHeads, kvHeads, d, window = 0 } = x;
    const refs = [x.q, x.k, x.v, x.kScales, x.vScales, x.start, x.out, x.firstKey, x.pages];
    const codes = [reductionCode[x.reduction ?? 'canonical'], formatCode[cache], formatCode[probs]];
    const sizes = [b, t, s, qHeads, kvHeads, d, window, Math.fround(x.scale), x.pageCount ?? 0, x.pageTokens ?? 0];
    return this.#arena.run(['attention', refs, [...codes, ...sizes]]);
  }

  /** x f32[m, k] → codes[m, k] and scales f32[m, ceil(k / block)]: amax, scale, saturating cast of x / scale. */
  quantizeRows(
    format: Fp8Format,
    x: At,
    codes: At,
    scales: At,
    m: number,
    k: number,
    block: number,
    rounding: 'none' | 'pow2_up',
  ): Promise<void> {
    const numbers = [formatCode[format], m, k, block, rounding === 'pow2_up' ? 1 : 0];
    return this.#arena.run(['quantize_rows', [x, codes, scales], numbers]);
  }

  /** x f32[rows, d] → codes[rows, d] and one E8M0 scale byte per block, rounded up: what an FP8 KV cache holds. */
  quantizeE8m0(format: Fp8Format, x: At, codes: At, scales: At, rows: number, d: number, block = d): Promise<void> {
    return this.#arena.run(['quantize_rows_e8m0', [x, codes, scales], [formatCode[format], rows, d, block]]);
  }

  quantizeBy(format: Fp8Format, x: At, scales: At, codes: At, by: ByScales, saturate: boolean): Promise<void> {
    const numbers = [formatCode[format], by.rows, by.k, by.scaleStride, by.blockRows, by.blockColumns];
    return this.#arena.run(['quantize_by', [x, scales, codes], [...numbers, saturate ? 1 : 0]]);
  }

  dequantizeBy(format: Fp8Format, codes: At, scales: At, out: At, by: ByScales): Promise<void> {
    const numbers = [formatCode[format], by.rows, by.k, by.scaleStride, by.blockRows, by.blockColumns];
    return this.#arena.run(['dequantize_by', [codes, scales, out], numbers]);
  }

  /** x f32[n] → codes[n], round to nearest even; FP8 saturates or not. */
  encode(format: 'bf16' | Fp8Format, x: At, codes: At, n: number, saturate = true): Promise<void> {
    const [rows, width] = rowsOf(n);
    return this.#arena.run(['encode', [x, codes], [formatCode[format], rows, width, saturate ? 1 : 0]]);
  }

  /** codes[n] → out f32[n], exactly. */
  decode(format: 'bf16' | Fp8Format, codes: At, out: At, n: number): Promise<void> {
    const [rows, width] = rowsOf(n);
    return this.#arena.run(['decode', [codes, out], [formatCode[format], rows, width]]);
  }

  /** out = (x · r) · weight, r = 1 / sqrt(Σ x² / n + eps): x, out f32[rows, n], weight f32[n]. */
  rmsNorm(x: At, weight: At, out: At, rows: number, n: number, eps: number): Promise<void> {
    return this.#arena.run(['rms_norm', [x, weight, out], [0, rows, n, eps]]);
  }

  softmax(x: At, out: At, rows: number, n: number): Promise<void> {
    return this.#arena.run(['softmax', [x, out], [0, rows, n]]);
  }

  logSoftmax(x: At, out: At, rows: number, n: number): Promise<void> {
    return this.#arena.run(['log_softmax', [x, out], [0, rows, n]]);
  }

  /** The log-softmax of one element per row: x f32[rows, n], targets i32[rows], out f32[rows]. */
  logSoftmaxGather(x: At, targets: At, out: At, rows: number, n: number): Promise<RunFailure | undefined> {
    return this.#arena.attempt(['log_softmax_gather', [x, targets, out], [0, rows, n]]);
  }

  /** Rotate-half rotary embedding of x f32[b, t, h, d] at positions start[b] + t, or start[b, t] with `each`; cos, sin f32[positions, rotated / 2]. */
  rope(
    refs: readonly [x: At, cos: At, sin: At, start: At, out: At],
    [b, t, h, d]: readonly [number, number, number, number],
    positions: number,
    rotated = d,
    each = false,
  ): Promise<RunFailure | undefined> {
    return this.#arena.attempt(['rope', refs, [b, t, h, d, rotated, positions, Number(each)]]);
  }

  unary(op: UnaryOp, x: At, out: At, rows: number, n: number): Promise<void> {
    return this.#arena.run(['unary', [x, out], [unaryOps.indexOf(op), rows, n]]);
  }

  binary(op: BinaryOp, a: At, b: At, out: At, rows: number, n: number): Promise<void> {
    return this.#arena.run(['binary', [a, b, out], [binaryOps.indexOf(op), rows, n]]);
  }

  /** out f32[rows, n] = x + bias f32[n]. */
  addBias(x: At, bias: At, out: At, rows: number, n: number): Promise<void> {
    return this.#arena.run(['add_row', [x, bias, out], [rows, n]]);
  }
}

/** A long vector as rows, so that threads share it out. */
function rowsOf(n: number): readonly [rows: number, width: number] {
  return n % 1024 === 0 ? [n / 1024, 1024] : [1, n];
}
