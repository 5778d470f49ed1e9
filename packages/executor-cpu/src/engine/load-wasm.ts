/** @file Loads the WebAssembly modules, each over a memory that grows. */
import { QuaverError } from '@quaver/numerics';
import type { WasmExports, WasmThreadExports } from './wasm-exports.ts';

export interface Wasm {
  readonly memory: WebAssembly.Memory;
  readonly exports: WasmExports;
  /** Bytes that the memory may have. */
  readonly maxBytes: number;
}

/** What workers instantiate once more over the same memory. */
export interface ThreadedWasm extends Wasm {
  readonly module: WebAssembly.Module;
  readonly exports: WasmThreadExports;
}

const pageBytes = 65536;
const initialPages = 4;
/** All addresses of 32 bits but for the last page, whose end has none. */
const mostPages = 65535;
/** Shared memory is reserved at once; where there is less address space it must end earlier. */
const sharedPages = [mostPages, 32768, 16384, 8192];

/** A module that uses one SIMD128 instruction: `func (result v128) i32.const 0; i8x16.splat`. */
const simdProbe = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11],
);

/** The bytes of a module: from the file in the package in Node, fetched in a browser. */
async function readModule(url: URL): Promise<BufferSource> {
  try {
    // Not an import: bundlers for browsers would have to resolve it.
    const fs = globalThis.process?.getBuiltinModule?.('node:fs/promises');
    if (url.protocol === 'file:' && fs) return await fs.readFile(url);
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await response.arrayBuffer();
  } catch (cause) {
    throw new QuaverError('kernels-not-found', `cannot read the WebAssembly kernels at ${url}: ${String(cause)}`, {
      hint: 'Serve or install the folder wasm with the JavaScript of @quaver/executor-cpu.',
      cause,
    });
  }
}

async function compile(url: URL): Promise<WebAssembly.Module> {
  if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(simdProbe))
    throw new QuaverError('wasm-simd-missing', 'this JavaScript engine has no WebAssembly SIMD (128-bit)', {
      hint: 'Use Node 16.4 or later, Chrome 91, Firefox 89, Safari 16.4, or later versions of them.',
    });
  return WebAssembly.compile(await readModule(url));
}

async function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<WebAssembly.Exports> {
  const { exports } = await WebAssembly.instantiate(module, { env: { memory, now: () => performance.now() / 1000 } });
  return exports;
}

/** @throws QuaverError `wasm-simd-missing`, `kernels-not-found`, `executor-out-of-memory` */
export async function loadWasm(): Promise<Wasm> {
  const module = await compile(new URL('../../wasm/kernels.wasm', import.meta.url));
  const memory = makeMemory();
  const exports = (await instantiate(module, memory)) as unknown as WasmExports;
  return { memory, exports, maxBytes: mostPages * pageBytes };
}

/** @throws QuaverError `wasm-simd-missing`, `kernels-not-found`; others when there is no shared memory */
export async function loadThreadedWasm(): Promise<ThreadedWasm> {
  const module = await compile(new URL('../../wasm/kernels-threads.wasm', import.meta.url));
  const { memory, pages } = makeShared();
  const exports = (await instantiate(module, memory)) as unknown as WasmThreadExports;
  return { module, memory, exports, maxBytes: pages * pageBytes };
}

function makeMemory(): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: initialPages });
  } catch (cause) {
    throw new QuaverError('executor-out-of-memory', 'the JavaScript engine gives WebAssembly no memory', {
      hint: 'It reserves some GiB of address space: raise the limit of this process (ulimit -v), or use the native engine.',
      cause,
    });
  }
}

function makeShared(): { readonly memory: WebAssembly.Memory; readonly pages: number } {
  let refused: unknown;
  for (const pages of sharedPages) {
    try {
      return { memory: new WebAssembly.Memory({ initial: initialPages, maximum: pages, shared: true }), pages };
    } catch (error) {
      refused = error;
    }
  }
  throw refused;
}
