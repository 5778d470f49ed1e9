/**
 * @file Builds `packages/executor-cpu/wasm/kernels.wasm` from the sources in `packages/executor-cpu/native`.
 *
 *   node tools/build-wasm.mjs           compiles, and writes kernels.wasm and its manifest kernels.json
 *   node tools/build-wasm.mjs --check   fails when the committed module is not what the sources give
 *
 * The compiler is the clang inside the Python package `ziglang`, installed into `.venv` at the root of the repository. The check
 * compares hashes; where the compiler is installed already it also compiles again and compares bytes.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from './process.mjs';
import { installZig, zigCommand, zigInstalled, zigPackage } from './zig.mjs';

const FLAGS = [
  '--target=wasm32-freestanding',
  '-mcpu=generic+simd128+bulk_memory',
  '-std=c++17',
  '-O3',
  // The canonical order rounds every multiplication and every addition: no fused multiply-add, no fast-math.
  '-ffp-contract=off',
  '-fwrapv',
  '-fno-strict-aliasing',
  '-fno-exceptions',
  '-fno-rtti',
  '-nostdlib',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-Wl,--no-entry',
  '-Wl,--import-memory',
  '-Wl,--strip-all',
  '-Wl,-z,stack-size=65536',
  '-Wl,--export=__heap_base',
  '-DQUAVER_ISA=simd128',
];
/** Folders of the native sources that go into the module; threads are the native engine's. */
const PARTS = ['isa', 'program', 'wasm'];
const LEFT_OUT = ['program/team.cpp'];

const nativeFolder = path.join(root, 'packages/executor-cpu/native');
const wasmFile = path.join(root, 'packages/executor-cpu/wasm/kernels.wasm');
const manifestFile = path.join(root, 'packages/executor-cpu/wasm/kernels.json');

function fail(message) {
  console.error(`build-wasm: ${message}`);
  process.exit(1);
}

function execute(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', ...options });
  if (result.error) fail(`cannot run ${command}: ${result.error.message}`);
  if (result.status !== 0) fail(`${command} ${args.join(' ')} failed:\n${result.stdout}${result.stderr}`);
  return result.stdout.trim();
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Relative to the folder of the native sources. */
function sources() {
  return readdirSync(nativeFolder, { recursive: true })
    .map((name) => name.replaceAll(path.sep, '/'))
    .filter((name) => /\.(cpp|h)$/.test(name) && (!name.includes('/') || PARTS.includes(name.split('/')[0])))
    .filter((name) => !LEFT_OUT.includes(name))
    .sort();
}

/** One hash over names and contents of the sources and over the flags, because all three decide the bytes. */
function hashSources() {
  const hash = createHash('sha256').update(FLAGS.join('\n'));
  for (const name of sources()) hash.update(`\0${name}\0`).update(readFileSync(path.join(nativeFolder, name)));
  return hash.digest('hex');
}

function compile() {
  const folder = mkdtempSync(path.join(tmpdir(), 'quaver-wasm-'));
  try {
    const output = path.join(folder, 'kernels.wasm');
    const units = sources().filter((name) => name.endsWith('.cpp'));
    // Relative paths and a fixed working folder, so that the bytes do not depend on where the repository lies.
    const { command, args } = zigCommand('c++');
    execute(command, [...args, ...FLAGS, '-o', output, ...units], { cwd: nativeFolder });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeAtomically(file, bytes) {
  writeFileSync(`${file}.partial`, bytes);
  renameSync(`${file}.partial`, file);
}

function check() {
  const manifest = JSON.parse(readFileSync(manifestFile, 'utf8'));
  const remedy = 'run `node tools/build-wasm.mjs` and commit the result';
  if (manifest.sources !== hashSources())
    fail(`the sources in packages/executor-cpu/native changed since kernels.wasm was built: ${remedy}`);
  const committed = readFileSync(wasmFile);
  if (manifest.wasm !== sha256(committed)) fail(`kernels.wasm is not the file that kernels.json describes: ${remedy}`);
  if (!zigInstalled())
    return console.log('kernels.wasm matches its sources by hash (compiler not installed: not rebuilt)');
  if (!compile().equals(committed))
    fail(`compiling the sources gives other bytes than the committed kernels.wasm: ${remedy}`);
  console.log(`kernels.wasm matches its sources, rebuilt byte for byte (${committed.length} bytes)`);
}

function build() {
  if (!installZig()) fail('the compiler cannot be installed');
  const bytes = compile();
  const manifest = { sources: hashSources(), compiler: zigPackage, wasm: sha256(bytes) };
  writeAtomically(wasmFile, bytes);
  writeAtomically(manifestFile, `${JSON.stringify(manifest, null, 2)}\n`);
  console.log(`kernels.wasm: ${bytes.length} bytes`);
}

if (process.argv.includes('--check')) check();
else build();
