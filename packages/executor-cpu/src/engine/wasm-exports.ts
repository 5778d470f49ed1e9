/** @file The exports of the WebAssembly modules as they are: numbers only. `native/wasm` says what they do. */
export interface WasmExports {
  readonly __heap_base: WebAssembly.Global;
  op_count(): number;
  op_name(op: number): number;
  packed_bytes(format: number, n: number, k: number): number;
  staged_bytes(a: number, w: number, m: number, k: number): number;
  run_bytes(image: number, length: number): number;
  load(memory: number, threads: number, image: number, length: number, blocks: number, count: number): number;
  error_reason(): number;
  error_instruction(): number;
  scratch_bytes(run: number): number;
  equip(run: number, scratch: number, seconds: number): void;
  begin(run: number): void;
  step(run: number, budget: number): number;
  stop(run: number): void;
  failure_code(run: number): number;
  failure_instruction(run: number): number;
  failure_position(run: number): number;
  failure_found(run: number): number;
  failure_limit(run: number): number;
}

/** Of `kernels-threads.wasm`. */
export interface WasmThreadExports extends WasmExports {
  readonly __stack_pointer: WebAssembly.Global;
  team_bytes(): number;
  team_begin(team: number, spins: number): void;
  team_run(team: number, run: number): void;
  team_work(team: number, thread: number): void;
  team_quit(team: number): void;
}
