/** @file Loads `wasm/kernels.wasm` over a memory that grows. */
import { QuaverError } from '@quaver/numerics';
import type { WasmExports } from './wasm-exports.ts';

export interface WasmModule {
  readonly memory: WebAssembly.Memory;
  readonly exports: WasmExports;
}

/** A module that uses one SIMD128 instruction: `func (result v128) i32.const 0; i8x16.splat`. */
const simdProbe = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11],
);

/** The bytes of the module: from the file in the package in Node, fetched in a browser. */
async function readModule(): Promise<BufferSource> {
  const url = new URL('../../wasm/kernels.wasm', import.meta.url);
  try {
    // Not an import: bundlers for browsers would have to resolve it.
    const fs = globalThis.process?.getBuiltinModule?.('node:fs/promises');
    if (url.protocol === 'file:' && fs) return await fs.readFile(url);
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await response.arrayBuffer();
  } catch (cause) {
    throw new QuaverError('kernels-not-found', `cannot read the WebAssembly kernels at ${url}: ${String(cause)}`, {
      hint: 'Serve or install wasm/kernels.wasm with the JavaScript of @quaver/executor-cpu.',
      cause,
    });
  }
}

/** @throws QuaverError `wasm-simd-missing`, `kernels-not-found` */
export async function loadWasm(): Promise<WasmModule> {
  if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(simdProbe))
    throw new QuaverError('wasm-simd-missing', 'this JavaScript engine has no WebAssembly SIMD (128-bit)', {
      hint: 'Use Node 16.4 or later, Chrome 91, Firefox 89, Safari 16.4, or later versions of them.',
    });
  const memory = new WebAssembly.Memory({ initial: 4 });
  const { instance } = await WebAssembly.instantiate(await readModule(), { env: { memory } });
  return { memory, exports: instance.exports as unknown as WasmExports };
}
