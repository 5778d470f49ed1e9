/**
 * @file Every engine that this machine runs: all instruction sets of the addon, alone and with threads, and WebAssembly.
 * A machine without the addon fails these tests instead of skipping them: `npm test` builds it first.
 */
import type { Engine } from '../src/engine/engine.ts';
import { type Addon, findAddon } from '../src/engine/load-addon.ts';
import { NativeEngine } from '../src/engine/native-engine.ts';
import { WasmEngine } from '../src/engine/wasm-engine.ts';

export interface EngineKind {
  readonly name: string;
  open(): Promise<Engine>;
}

export const { addon, path: addonPath }: { readonly addon: Addon; readonly path: string } = requireAddon();
export const isas: readonly string[] = addon.isas();

export const engineKinds: readonly EngineKind[] = [
  ...isas.flatMap((isa) => [1, 3].map((threads) => nativeKind(isa, threads))),
  wasmKind(1),
  wasmKind(3),
];

function nativeKind(isa: string, threads: number): EngineKind {
  const name = `${isa}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  return { name, open: async () => openNative(threads, isa) };
}

function wasmKind(threads: number): EngineKind {
  const name = `wasm, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  return {
    name,
    open: async () => {
      const engine = await WasmEngine.open(threads);
      if (engine.threads !== threads) throw new Error(`WebAssembly has ${engine.threads} threads, not ${threads}`);
      return engine;
    },
  };
}

export function openNative(threads: number, isa: string = isas[0]!): NativeEngine {
  return new NativeEngine(addon, { isa, threads, maxBytes: 2 ** 34 });
}

function requireAddon() {
  const search = findAddon();
  if (search.addon) return search;
  throw new Error(`the native engine is missing: ${search.reason}. Build it: node tools/build-native.mjs --required`);
}
