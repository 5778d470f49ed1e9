/** @file The exports of `kernels.wasm` as they are: numbers only. `native/wasm/exports.cpp` says what they do. */
export interface WasmExports {
  readonly __heap_base: WebAssembly.Global;
  op_count(): number;
  op_name(op: number): number;
  packed_bytes(format: number, n: number, k: number): number;
  staged_bytes(a: number, w: number, m: number, k: number): number;
  run_bytes(image: number, length: number): number;
  load(memory: number, image: number, length: number, blocks: number, count: number): number;
  error_reason(): number;
  error_instruction(): number;
  scratch_bytes(run: number): number;
  begin(run: number, scratch: number): void;
  step(run: number, budget: number): number;
  failure_code(run: number): number;
  failure_instruction(run: number): number;
  failure_position(run: number): number;
  failure_found(run: number): number;
  failure_limit(run: number): number;
}
