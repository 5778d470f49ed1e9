/**
 * @file Finds the native engine: the optional package of the platform, or in a checkout what was built from source. Where
 * neither loads, the reason is kept: `quaver doctor` tells it, and WebAssembly takes over.
 */

/** What `native/addon/addon.cpp` exports. Handles are opaque; a wrong argument throws. */
export interface Addon {
  isas(): readonly string[];
  ops(): readonly string[];
  open(isa: string, threads: number): EngineHandle;
  threads(engine: EngineHandle): number;
  close(engine: EngineHandle): void;
  allocate(engine: EngineHandle, byteLength: number): ArrayBuffer | null;
  release(engine: EngineHandle, buffer: ArrayBuffer): void;
  panel(engine: EngineHandle): number;
  packedBytes(engine: EngineHandle, format: number, n: number, k: number): number;
  stagedBytes(engine: EngineHandle, a: number, w: number, m: number, k: number): number;
  load(engine: EngineHandle, image: Float64Array, buffers: readonly ArrayBuffer[], profile: boolean): ProgramHandle;
  phases(program: ProgramHandle): readonly number[];
  run(program: ProgramHandle, done: (failure: readonly number[] | null | undefined) => void): void;
  stop(program: ProgramHandle): void;
  seconds(program: ProgramHandle): readonly number[];
  unload(program: ProgramHandle): void;
}

declare const handle: unique symbol;
export interface EngineHandle {
  readonly [handle]: 'engine';
}
export interface ProgramHandle {
  readonly [handle]: 'program';
}

export type AddonSearch =
  | { readonly addon: Addon; readonly path: string }
  | { readonly addon: undefined; readonly reason: string };

let found: AddonSearch | undefined;

/** Looked for once: what is installed does not change while a process runs. */
export function findAddon(): AddonSearch {
  found ??= search();
  return found;
}

function search(): AddonSearch {
  const { process } = globalThis;
  const require = process?.getBuiltinModule?.('node:module')?.createRequire(import.meta.url);
  if (!require) return { addon: undefined, reason: 'native code runs in Node only' };
  const platform = `${process.platform}-${process.arch}`;
  const packageName = `@quaver/executor-cpu-${platform}`;
  const reasons: string[] = [];
  for (const path of [packageName, `../../build/${platform}/quaver.node`]) {
    try {
      return { addon: require(path) as Addon, path: require.resolve(path) };
    } catch (error) {
      reasons.push(reasonOf(error as Error & { code?: string }, path));
    }
  }
  return { addon: undefined, reason: reasons.join('; ') };
}

function reasonOf({ code, message }: Error & { code?: string }, path: string): string {
  const missing = code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND';
  return missing ? `${path} is not there` : `${path} does not load: ${message.split('\n')[0]}`;
}
