/**
 * @file Builds the modules in `packages/executor-cpu/wasm` from the sources in `packages/executor-cpu/native`: `kernels.wasm`,
 * and `kernels-threads.wasm` over memory that threads share.
 *
 *   node tools/build-wasm.mjs           compiles, and writes the modules and their manifest kernels.json
 *   node tools/build-wasm.mjs --check   fails when the committed modules are not what the sources give
 *
 * The compiler is the clang inside the Python package `ziglang`, installed into `.venv` at the root of the repository. The check
 * compares hashes; where the compiler is installed already it also compiles again and compares bytes.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from './process.mjs';
import { installZig, zigCommand, zigInstalled, zigPackage } from './zig.mjs';

const FLAGS = [
  '--target=wasm32-freestanding',
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
  // Workers get stacks of the same size: src/engine/wasm-team.ts.
  '-Wl,-z,stack-size=65536',
  '-Wl,--export=__heap_base',
  '-DQUAVER_ISA=simd128',
];
/** Folders of the native sources that go into the modules. */
const PARTS = ['isa', 'program', 'wasm'];
const MODULES = {
  kernels: {
    flags: ['-mcpu=generic+simd128+bulk_memory'],
    leftOut: ['program/team.cpp', 'program/team.h', 'wasm/threads.cpp'],
  },
  'kernels-threads': {
    flags: [
      '-mcpu=generic+simd128+bulk_memory+atomics',
      '-Wl,--shared-memory',
      // As many whole pages as the linker's 32 bits can say.
      '-Wl,--max-memory=4294901760',
      '-Wl,--export=__stack_pointer',
    ],
    leftOut: [],
  },
};

const nativeFolder = path.join(root, 'packages/executor-cpu/native');
const wasmFolder = path.join(root, 'packages/executor-cpu/wasm');
const fileOf = (name) => path.join(wasmFolder, `${name}.wasm`);
const manifestFile = path.join(wasmFolder, 'kernels.json');

function fail(message) {
  console.error(`build-wasm: ${message}`);
  process.exit(1);
}

function execute(command, args, options) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text));
    child.on('error', (error) => fail(`cannot run ${command}: ${error.message}`));
    child.on('close', (code) => (code === 0 ? resolve() : fail(`${command} ${args.join(' ')} failed:\n${output}`)));
  });
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** Relative to the folder of the native sources. */
function sources({ leftOut }) {
  return readdirSync(nativeFolder, { recursive: true })
    .map((name) => name.replaceAll(path.sep, '/'))
    .filter((name) => /\.(cpp|h)$/.test(name) && (!name.includes('/') || PARTS.includes(name.split('/')[0])))
    .filter((name) => !leftOut.includes(name))
    .sort();
}

/** One hash over names and contents of the sources and over the flags, because all three decide the bytes. */
function hashSources(module) {
  const hash = createHash('sha256').update([...FLAGS, ...module.flags].join('\n'));
  for (const name of sources(module)) hash.update(`\0${name}\0`).update(readFileSync(path.join(nativeFolder, name)));
  return hash.digest('hex');
}

async function compile(module) {
  const folder = mkdtempSync(path.join(tmpdir(), 'quaver-wasm-'));
  try {
    const output = path.join(folder, 'module.wasm');
    const units = sources(module).filter((name) => name.endsWith('.cpp'));
    // Relative paths and a fixed working folder, so that the bytes do not depend on where the repository lies.
    const { command, args } = zigCommand('c++');
    await execute(command, [...args, ...FLAGS, ...module.flags, '-o', output, ...units], { cwd: nativeFolder });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const compileAll = () =>
  Promise.all(Object.entries(MODULES).map(async ([name, module]) => ({ name, bytes: await compile(module) })));

function writeAtomically(file, bytes) {
  writeFileSync(`${file}.partial`, bytes);
  renameSync(`${file}.partial`, file);
}

async function check() {
  const manifest = JSON.parse(readFileSync(manifestFile, 'utf8'));
  const remedy = 'run `node tools/build-wasm.mjs` and commit the result';
  for (const [name, module] of Object.entries(MODULES)) {
    const known = manifest.modules?.[name];
    if (known?.sources !== hashSources(module))
      fail(`the sources in packages/executor-cpu/native changed since ${name}.wasm was built: ${remedy}`);
    if (known.wasm !== sha256(readFileSync(fileOf(name))))
      fail(`${name}.wasm is not the file that kernels.json describes: ${remedy}`);
  }
  if (!zigInstalled())
    return console.log('The WebAssembly modules match their sources by hash (compiler not installed: not rebuilt)');
  for (const { name, bytes } of await compileAll()) {
    if (!bytes.equals(readFileSync(fileOf(name))))
      fail(`compiling the sources gives other bytes than the committed ${name}.wasm: ${remedy}`);
    console.log(`${name}.wasm matches its sources, rebuilt byte for byte (${bytes.length} bytes)`);
  }
}

async function build() {
  if (!installZig()) fail('the compiler cannot be installed');
  const manifest = { compiler: zigPackage, modules: {} };
  for (const { name, bytes } of await compileAll()) {
    manifest.modules[name] = { sources: hashSources(MODULES[name]), wasm: sha256(bytes) };
    writeAtomically(fileOf(name), bytes);
    console.log(`${name}.wasm: ${bytes.length} bytes`);
  }
  writeAtomically(manifestFile, `${JSON.stringify(manifest, null, 2)}\n`);
}

if (process.argv.includes('--check')) await check();
else await build();
