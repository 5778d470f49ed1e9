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
  quantize_rows(
    format: number,
    x: number,
    codes: number,
    scales: number,
    m: number,
    k: number,
    block: number,
    rounding: number,
  ): void;
  quantize_e8m0(format: number, x: number, codes: number, scales: number, rows: number, d: number): void;
  encode(format: number, x: number, codes: number, n: number): void;
  decode(format: number, codes: number, out: number, n: number): void;
  attention_scratch_bytes(s: number, d: number): number;
  attention(
    cache: number,
    probs: number,
    q: number,
    k: number,
    kScales: number,
    v: number,
    vScales: number,
    start: number,
    out: number,
    scratch: number,
    b: number,
    t: number,
    s: number,
    qHeads: number,
    kvHeads: number,
    d: number,
    window: number,
    scale: number,
    n0: number,
    n1: number,
  ): void;
  rms_norm(x: number, weight: number, out: number, rows: number, n: number, eps: number): void;
  softmax(x: number, out: number, rows: number, n: number): void;
  log_softmax(x: number, out: number, rows: number, n: number): void;
  log_softmax_gather(x: number, targets: number, out: number, rows: number, n: number): number;
  swiglu(gate: number, up: number, out: number, n: number): void;
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
  ): number;
  add(a: number, b: number, out: number, n: number): void;
  multiply(a: number, b: number, out: number, n: number): void;
  add_bias(x: number, bias: number, out: number, rows: number, n: number): void;
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
