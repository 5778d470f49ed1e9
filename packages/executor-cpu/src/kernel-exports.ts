/**
 * @file The exports of `kernels.wasm` as they are: numbers only. The comment on each function in `native/*.cpp` gives the shapes;
 * `kernels.ts` is the interface for people.
 */
export interface KernelExports {
  readonly __heap_base: WebAssembly.Global;
  packed_bytes(format: number, n: number, k: number): number;
  pack_weights(format: number, w: number, packed: number, k: number, row0: number, rows: number): void;
  gemm_scratch_bytes(m: number, k: number): number;
  gemm_fp8(
    aFormat: number,
    a: number,
    aScales: number,
    aScaleStride: number,
    wFormat: number,
    packed: number,
    wScales: number,
    out: number,
    outStride: number,
    scratch: number,
    m: number,
    n: number,
    k: number,
    blockK: number,
    blockN: number,
    n0: number,
    n1: number,
  ): void;
  gemm_bf16: UnscaledGemm;
  gemm_f32: UnscaledGemm;
}

type UnscaledGemm = (
  a: number,
  packed: number,
  out: number,
  outStride: number,
  scratch: number,
  m: number,
  n: number,
  k: number,
  n0: number,
  n1: number,
) => void;
