/**
 * @file Finds the native engine: it is in the optional package of the platform. Where that is missing or does not load, the
 * reason is kept: `quaver doctor` tells it, and WebAssembly takes over.
 */

/** What `native/addon/addon.cpp` exports. Handles are opaque; a wrong argument throws. */
export interface Addon {
  isas(): readonly string[];
  ops(): readonly string[];
  open(isa: string, threads: number): EngineHandle;
  threads(engine: EngineHandle): number;
  close(engine: EngineHandle): void;
  allocate(engine: EngineHandle, byteLength: number, lasting: boolean): ArrayBuffer | null;
  release(engine: EngineHandle, buffer: ArrayBuffer): void;
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

export interface AddonMissing {
  readonly addon: undefined;
  readonly reason: string;
  /** What brings the engine here; undefined where nothing would: in a browser, or on a platform that has none. */
  readonly remedy: string | undefined;
}

export type AddonSearch = { readonly addon: Addon; readonly path: string } | AddonMissing;

/** The platforms of the packages in `npm/`. */
const platforms: readonly string[] = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64', 'win32-x64'];

let found: AddonSearch | undefined;

/** Looked for once: what is installed does not change while a process runs. */
export function findAddon(): AddonSearch {
  found ??= search();
  return found;
}

function search(): AddonSearch {
  const { process } = globalThis;
  const load = requireHere();
  if (!load) return none('native code runs in Node only');
  const platform = `${process.platform}-${process.arch}`;
  if (!platforms.includes(platform)) return none(`there is no native engine for ${platform}`);
  const packageName = `@quaver/executor-cpu-${platform}`;
  const problem = tryLoading(load, packageName);
  if (typeof problem !== 'string') return problem;
  if (lacksGlibc()) return none(`the native engine for ${platform} needs the C library glibc`);
  return { addon: undefined, reason: problem, remedy: remedyFor(load, packageName) };
}

/** The addon, or what is wrong with it. In a checkout the package is the folder into which the addon is built. */
function tryLoading(load: NodeJS.Require, packageName: string): AddonSearch | string {
  try {
    const addon = load(packageName) as Addon;
    const problem = versionProblem(load, packageName) ?? problemOf(addon);
    return problem === undefined
      ? { addon, path: load.resolve(packageName) }
      : `${packageName} is of no use here: ${problem}`;
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (code === 'MODULE_NOT_FOUND') return `${packageName} is not installed`;
    return `${packageName} does not load: ${message.split('\n')[0]}`;
  }
}

const none = (reason: string): AddonMissing => ({ addon: undefined, reason, remedy: undefined });

/** Undefined in browsers, and where a bundler has left no place to load from. */
function requireHere(): NodeJS.Require | undefined {
  try {
    return globalThis.process?.getBuiltinModule?.('node:module')?.createRequire(import.meta.url);
  } catch {
    return undefined;
  }
}

/** The packages belong together: numbers of arguments and codes of formats are nothing that one can ask the addon. */
function versionProblem(load: NodeJS.Require, packageName: string): string | undefined {
  const wanted = ownVersion(load);
  const { version } = load(`${packageName}/package.json`) as { version: string };
  return wanted === undefined || version === wanted ? undefined : `it is version ${version}, not ${wanted}`;
}

/** Undefined when this code was bundled into another package. */
function ownVersion(load: NodeJS.Require): string | undefined {
  try {
    const { name, version } = load('../../package.json') as { name: string; version: string };
    return name === '@quaver/executor-cpu' ? version : undefined;
  } catch {
    return undefined;
  }
}

/** Uses a little of everything: a runtime may load addons but grant no threads, or, like Electron, no memory of theirs. */
function problemOf(addon: Addon): string | undefined {
  try {
    const engine = addon.open(addon.isas()[0]!, 1);
    try {
      const buffer = addon.allocate(engine, 64, false);
      if (buffer) addon.release(engine, buffer);
    } finally {
      addon.close(engine);
    }
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function lacksGlibc(): boolean {
  const { platform } = globalThis.process;
  const report = globalThis.process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined;
  if (platform !== 'linux' || !report) return false;
  const before = report.excludeNetwork;
  // Or it would look up the names of all open connections.
  report.excludeNetwork = true;
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
  if (before !== undefined) report.excludeNetwork = before;
  return header !== undefined && header.glibcVersionRuntime === undefined;
}

function remedyFor(load: NodeJS.Require, packageName: string): string {
  const fs = globalThis.process.getBuiltinModule('node:fs');
  if (fs.existsSync(new URL('../../native', import.meta.url))) return 'node tools/build-native.mjs builds it.';
  const version = ownVersion(load);
  return `npm install ${packageName}${version === undefined ? '' : `@${version}`} brings it.`;
}
